use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::workload::open;

/// Copies the log into the database file, with SQLite's own checkpoint.
///
/// No connection to it may be open in this process: reading the file would drop its locks.
pub(crate) fn settle(database: &Path) {
    let connection = open(database);
    let (busy, frames): (i64, i64) = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((busy, frames), (0, 0), "{} is still in use", database.display());
    connection.close().unwrap();
}

/// Compares two files, byte by byte.
pub(crate) fn assert_same(expected: &Path, found: &Path) {
    let [mut left, mut right] = [expected, found].map(|path| File::open(path).unwrap());
    let sizes = [&left, &right].map(|file| file.metadata().unwrap().len());
    assert_eq!(sizes[0], sizes[1], "{} and {}: sizes", expected.display(), found.display());
    let (mut these, mut those) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut offset = 0;
    while offset < sizes[0] {
        let length = usize::try_from(sizes[0] - offset).unwrap().min(these.len());
        left.read_exact(&mut these[..length]).unwrap();
        right.read_exact(&mut those[..length]).unwrap();
        let difference = (0..length).find(|&at| these[at] != those[at]);
        if let (true, Some(at)) = (these[..length] != those[..length], difference) {
            let at = offset + at as u64;
            panic!("{} and {} differ at byte {at}", expected.display(), found.display());
        }
        offset += length as u64;
    }
}
