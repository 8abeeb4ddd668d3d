//! Transactions that are in the log, but were never committed.

use std::fs::{self, OpenOptions};
use std::io::Write;

use litestream::wal::{FrameHeader, FrameReader, WalHeader};
use rusqlite::Connection;

use crate::support::{Site, eventually, open};

const COMMITTED: &[u8] = b"committed";
const FORGOTTEN: &[u8] = b"forgotten";

/// Appends a transaction to the log that changes the page with the row, but does not publish it in
/// shared memory, like a process that is killed while its commit is being synced, or whose disk
/// fails.
fn write_and_die(site: &Site) {
    let path = site.path("app.db-wal");
    let log = fs::read(&path).unwrap();
    let (head, rest) = log.split_first_chunk::<{ WalHeader::SIZE }>().unwrap();
    let header = WalHeader::parse(head).unwrap();
    let mut page = vec![0; header.page_size.bytes()];
    let mut frames = FrameReader::new(rest, &header);
    let (mut end, mut found, mut size) = (WalHeader::SIZE, None, None);
    while let Some(frame) = frames.next_frame(&mut page).unwrap() {
        end += FrameHeader::SIZE + page.len();
        size = frame.commit.or(size);
        if let Some(at) = page.windows(COMMITTED.len()).position(|part| part == COMMITTED) {
            found = Some((frame.page, at, page.clone()));
        }
    }
    assert_eq!(end, log.len(), "nothing else is in the log");
    let (number, at, mut page) = found.unwrap();
    page[at..at + FORGOTTEN.len()].copy_from_slice(FORGOTTEN);
    let before = frames.checksum();
    let mut frame = FrameHeader { page: number, commit: size, salt: header.salt, checksum: before };
    frame.checksum =
        before.update(header.order, &frame.to_bytes()[..8]).update(header.order, &page);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&[frame.to_bytes().as_slice(), page.as_slice()].concat()).unwrap();
}

/// The number of frames in the log, and how many of them are in the database file.
fn frames(connection: &Connection) -> (i64, i64) {
    let sql = "PRAGMA wal_checkpoint(NOOP)";
    connection.query_row(sql, [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
}

/// The last frame of a transaction is written first, then it is synced, and only then does shared
/// memory show that it is committed. The transaction of a process that is killed in between must
/// not be replicated, since it never happened for SQLite: if the log were checkpointed before
/// somebody overwrote the frames, nothing would be noticed, and every later restore would contain
/// the page.
#[test]
fn does_not_replicate_what_its_writer_did_not_live_to_commit() {
    let site =
        Site::with("monitor-interval: 50ms, checkpoint-interval: 200ms", "sync-interval: 20ms");
    site.serve();
    let connection = open(&site.database());
    let schema = "CREATE TABLE victim (x); CREATE TABLE other (x)";
    connection.execute_batch(schema).unwrap();
    let daemon = site.replicate();
    eventually("a replica", || site.replica().join("generations").exists());
    eventually("a checkpoint", || {
        let (all, copied) = frames(&connection);
        all == copied
    });
    connection.execute("INSERT INTO victim VALUES ('committed')", []).unwrap();
    write_and_die(&site);
    site.wait_for_look(&daemon);
    eventually("a checkpoint", || {
        let (all, copied) = frames(&connection);
        all == copied
    });
    connection.execute("INSERT INTO other VALUES ('later')", []).unwrap();
    drop(connection);
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{log}");
    site.check();
}
