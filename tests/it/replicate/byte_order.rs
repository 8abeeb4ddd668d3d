//! Logs that were begun on a machine of the other byte order: SQLite continues them.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use litestream::wal::{ByteOrder, FrameReader, FrameWriter, WalHeader};

use crate::support::{Site, eventually, open};

/// The log as a machine of the other byte order would have written it.
fn turned(log: &[u8]) -> Vec<u8> {
    let (head, frames) = log.split_first_chunk().unwrap();
    let header = WalHeader::parse(head).unwrap();
    let turned = header.in_order(ByteOrder::Big);
    let mut reader = FrameReader::new(Cursor::new(frames), &header);
    let mut writer = FrameWriter::new(Vec::new(), &turned).unwrap();
    let mut page = vec![0; header.page_size.bytes()];
    while let Some(frame) = reader.next_frame(&mut page).unwrap() {
        writer.write_frame(frame.page, frame.commit, &page).unwrap();
    }
    writer.into_inner()
}

/// Writes to a database, and leaves it with a log of the other byte order.
fn write_elsewhere(database: &Path) {
    let connection = open(database);
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS elsewhere (x); INSERT INTO elsewhere VALUES (1)")
        .unwrap();
    let log = database.with_file_name("app.db-wal");
    let [content, logged] = [database, &log].map(|path| fs::read(path).unwrap());
    // This deletes the log.
    drop(connection);
    fs::write(database, content).unwrap();
    fs::write(&log, turned(&logged)).unwrap();
}

#[test]
fn what_is_in_such_a_log_is_replicated() {
    let site = Site::new();
    site.write(1, 20);
    write_elsewhere(&site.database());
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    site.write(2, 20);
    daemon.stop();
    site.check();

    write_elsewhere(&site.database());
    let mut daemon = site.replicate();
    daemon.wait_for("the generation goes on");
    site.write(3, 20);
    daemon.stop();
    site.check();
    assert_eq!(site.listing().only().snapshots.len(), 1);
    let rows: u32 = open(&site.database())
        .query_one("SELECT count(*) FROM elsewhere", (), |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 2, "the log was not read");
}

/// Such a log is followed while somebody reads from it. What has changed when the log is reset is
/// sent after it, and must not have the checksums of this machine, or nothing could be restored.
#[test]
fn such_a_log_is_continued() {
    let site = Site::new();
    site.write(1, 200);
    write_elsewhere(&site.database());
    let [connection, reader] = [(); 2].map(|()| open(&site.database()));
    reader.execute_batch("BEGIN; SELECT count(*) FROM elsewhere").unwrap();
    connection.execute_batch("INSERT INTO elsewhere VALUES (2)").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    connection.execute_batch("INSERT INTO elsewhere VALUES (3)").unwrap();
    let segments = site.listing().segments();
    eventually("a segment", || site.listing().segments() > segments);
    drop(reader);
    connection.execute_batch("INSERT INTO elsewhere VALUES (4)").unwrap();
    daemon.stop();
    drop(connection);
    site.check();

    open(&site.database()).execute_batch("INSERT INTO elsewhere VALUES (5)").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("the generation goes on");
    daemon.stop();
    site.check();
}
