use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use crate::wal::PageSize;

/// The header of the `-shm` file, of which there are two copies, as described in `walformat.html`
/// of SQLite. Numbers are in the byte order of the machine.
const HEADER_BYTES: usize = 48;
const INITIALIZED_AT: usize = 12;
const PAGE_SIZE_AT: usize = 14;
const FRAMES_AT: usize = 16;

/// How long a log is at least, according to its index: in bytes, up to the last frame that is
/// committed.
///
/// `None` if that cannot be told: the index is being written just now, or it is not in use.
pub(super) fn committed_bytes(index: &File) -> io::Result<Option<u64>> {
    let mut bytes = [0; 2 * HEADER_BYTES];
    match index.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8; 2 * HEADER_BYTES]) -> Option<u64> {
    let (header, copy) = bytes.split_at(HEADER_BYTES);
    if header != copy || header[INITIALIZED_AT] == 0 {
        return None;
    }
    let page_size = u16::from_ne_bytes(header[PAGE_SIZE_AT..][..2].try_into().ok()?);
    // 1 stands for 65536, which does not fit.
    let page_size = if page_size == 1 { 1 << 16 } else { u32::from(page_size) };
    let frames = u32::from_ne_bytes(header[FRAMES_AT..][..4].try_into().ok()?);
    let page_size = PageSize::new(page_size)?;
    Some(if frames == 0 { 0 } else { page_size.wal_bytes(frames.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::sidecar;

    #[test]
    fn knows_what_sqlite_has_committed() {
        for page_size in [512, 4096, 65536] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("db");
            let connection = rusqlite::Connection::open(&path).unwrap();
            let found = || {
                let index = File::open(sidecar(&path, "-shm")).unwrap();
                committed_bytes(&index).unwrap()
            };
            let settings = format!("PRAGMA page_size = {page_size}; PRAGMA journal_mode = wal");
            connection.execute_batch(&settings).unwrap();
            connection.execute_batch("CREATE TABLE t (x)").unwrap();
            let log = std::fs::metadata(sidecar(&path, "-wal")).unwrap().len();
            assert!(log > 0);
            assert_eq!(found(), Some(log));
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            assert_eq!(found(), Some(0));
        }
    }

    #[test]
    fn says_nothing_while_it_is_written() {
        let mut bytes = [0; 2 * HEADER_BYTES];
        assert_eq!(parse(&bytes), None, "not initialized");
        for copy in [0, HEADER_BYTES] {
            bytes[copy + INITIALIZED_AT] = 1;
            bytes[copy + PAGE_SIZE_AT..][..2].copy_from_slice(&4096_u16.to_ne_bytes());
        }
        assert_eq!(parse(&bytes), Some(0));
        bytes[FRAMES_AT] = 7;
        assert_eq!(parse(&bytes), None, "one copy only");
    }
}
