//! A segment has each page once, however often it was written.

use std::fs;
use std::io::Read;

use litestream::format::lz4;
use litestream::wal::{FrameReader, WalHeader};
use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{Site, eventually, open};

/// Commits that change the same row, again and again.
fn count_up(connection: &Connection, times: u32) {
    let mut update = connection.prepare("UPDATE counter SET value = value + 1").unwrap();
    for _ in 0..times {
        update.execute([]).unwrap();
    }
}

/// The pages in each segment of the first log, and which of them end a transaction.
fn segments(site: &Site) -> Vec<Vec<(u32, bool)>> {
    let listing = site.listing();
    let generation = listing.only();
    let directory = site.replica().join("generations").join(&generation.name).join("wal");
    let names = generation.segments.iter().filter(|name| name.starts_with("00000000_"));
    let contents = names.map(|name| {
        let object = fs::read(directory.join(format!("{name}.wal.lz4"))).unwrap();
        let mut content = Vec::new();
        lz4::Decoder::new(object.as_slice()).read_to_end(&mut content).unwrap();
        content
    });
    // Together they are a WAL, and each segment begins where the one before it ends.
    let contents: Vec<Vec<u8>> = contents.collect();
    let wal = contents.concat();
    let (head, rest) = wal.split_first_chunk().unwrap();
    let header = WalHeader::parse(head).unwrap();
    let mut page = vec![0; header.page_size.bytes()];
    let mut reader = FrameReader::new(rest, &header);
    let frame_bytes = usize::try_from(header.page_size.frame_bytes()).unwrap();
    let mut take = |content: &Vec<u8>| {
        let frames = (0..content.len() / frame_bytes).map(|_| {
            let frame = reader.next_frame(&mut page).unwrap().unwrap();
            (frame.page, frame.commit.is_some())
        });
        frames.collect()
    };
    contents.iter().map(&mut take).collect()
}

/// A thousand commits to one row must not be a thousand pages to compress, store and restore.
#[test]
fn many_commits_to_one_page_are_one_page() {
    // The log is not restarted meanwhile.
    let site = Site::with(
        "monitor-interval: 50ms, min-checkpoint-page-count: 100000",
        "sync-interval: 50ms",
    );
    let connection = open(&site.database());
    let schema = "CREATE TABLE counter (value); INSERT INTO counter VALUES (0)";
    connection.execute_batch(schema).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    for round in 1..=3 {
        daemon.pause();
        count_up(&connection, 1000);
        daemon.signal(Signal::CONT);
        eventually("another segment", || site.listing().segments() >= round);
    }
    let log = site.path("app.db-wal").metadata().unwrap().len();
    drop(connection);
    daemon.stop();

    let found = segments(&site);
    assert!(log > 3000 * 4096, "that was in the log: {log} bytes");
    let pages: usize = found.iter().map(Vec::len).sum();
    assert!(pages < 20, "{found:?}");
    for segment in &found {
        let (last, others) = segment.split_last().unwrap();
        assert!(last.1 && others.iter().all(|(_, commits)| !commits), "one transaction: {found:?}");
        let mut numbers: Vec<u32> = segment.iter().map(|(page, _)| *page).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), segment.len(), "each page once: {found:?}");
    }
    site.check();
}
