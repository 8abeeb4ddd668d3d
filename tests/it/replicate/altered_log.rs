//! A disk or another program that alters what was committed to the log.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use rustix::process::Signal;

use crate::support::{Site, eventually, open};

/// A frame that is damaged before it is read must not be read again for ever, so that nothing
/// after it is replicated.
#[test]
fn a_frame_that_was_altered_is_said_and_ends_the_generation() {
    check(|places| *places.last().unwrap());
}

/// The replica does not need such a frame, but SQLite does when it recovers the log: it would drop
/// everything after it.
#[test]
fn so_is_one_whose_page_was_written_again() {
    check(|places| places[0]);
}

/// Older versions of SQLite leave such a frame. It must not be taken for a log that lacks commits,
/// and waited for until the application ends.
#[test]
fn so_is_one_without_its_checksum() {
    check_altered(|site| {
        let path = site.path("app.db-wal");
        let file = File::options().write(true).open(&path).unwrap();
        let last = fs::metadata(&path).unwrap().len() - (24 + 4096);
        file.write_all_at(&[0; 16], last + 8).unwrap();
    });
}

fn check(choose: fn(&[u64]) -> u64) {
    check_altered(|site| alter(site, choose));
}

/// Alters the log where texts were written one after the other to the same page.
fn check_altered(alter: impl Fn(&Site)) {
    let site = Site::new();
    site.write(1, 50);
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE texts (text)").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    connection.execute_batch("INSERT INTO texts VALUES ('replicated')").unwrap();
    eventually("a segment", || site.listing().segments() > 0);

    daemon.pause();
    connection.execute_batch("INSERT INTO texts VALUES ('damaged')").unwrap();
    connection.execute_batch("INSERT INTO texts VALUES ('behind it')").unwrap();
    alter(&site);
    daemon.signal(Signal::CONT);

    daemon.wait_for("of the log was altered");
    daemon.wait_for("has damaged the database");
    eventually("a new generation", || site.listing().generations.len() == 2);
    connection.execute_batch("INSERT INTO texts VALUES ('later')").unwrap();
    drop(connection);
    daemon.stop();
    // The replica has the database as the application sees it.
    site.check();
}

/// Older versions of SQLite write such a log themselves, after a large transaction with a ROLLBACK
/// TO. If nothing of the generation was captured yet, the daemon must not stall for ever and keep
/// everybody from copying the log: a crash of the application would lose what is in it.
#[test]
fn a_log_that_cannot_be_read_is_copied_once_its_reader_has_ended() {
    let site = Site::new();
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE texts (text)").unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    let reader = open(&site.database());
    reader.execute_batch("BEGIN; SELECT * FROM texts").unwrap();

    daemon.pause();
    connection.execute_batch("INSERT INTO texts VALUES ('damaged')").unwrap();
    connection.execute_batch("INSERT INTO texts VALUES ('behind it')").unwrap();
    alter(&site, |places| places[0]);
    daemon.signal(Signal::CONT);

    daemon.wait_for("the checksums of the log do not hold, so that it cannot be captured");
    // What the application commits meanwhile is in its database, whoever copies the log.
    connection.execute_batch("INSERT INTO texts VALUES ('meanwhile')").unwrap();
    drop(reader);
    daemon.wait_for("replication goes on");
    eventually("a new generation", || {
        let generations = site.listing().generations;
        generations.len() == 2 && generations.iter().all(|of| !of.snapshots.is_empty())
    });
    let (busy, frames, copied) = connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .unwrap();
    assert_eq!((busy, frames), (0, copied));
    drop(connection);
    daemon.stop();
    site.check();
}

/// Alters the log at one of the places of a text that was written twice.
fn alter(site: &Site, choose: fn(&[u64]) -> u64) {
    let (path, word) = (site.path("app.db-wal"), b"damaged");
    let log = fs::read(&path).unwrap();
    let windows = (0..).zip(log.windows(word.len()));
    let places: Vec<u64> = windows.filter(|(_, window)| window == word).map(|(at, _)| at).collect();
    assert!(places.len() > 1);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"D", choose(&places)).unwrap();
}
