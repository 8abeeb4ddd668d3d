//! A disk, or another program, that alters what was committed to the log.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use rustix::process::Signal;

use crate::support::{Site, eventually, open};

/// A frame that was damaged before it was read was read again for ever, and nothing that was written
/// after it was replicated.
#[test]
fn a_frame_that_was_altered_is_said_and_ends_the_generation() {
    check(|places| *places.last().unwrap());
}

/// The replica does not need it, but SQLite does when it recovers the log: it would forget all that
/// comes after it.
#[test]
fn so_is_one_whose_page_was_written_again() {
    check(|places| places[0]);
}

/// Alters the log at one of the places where a text is that was written, and then again behind other
/// texts on the same page.
fn check(choose: fn(&[u64]) -> u64) {
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
    let (path, word) = (site.path("app.db-wal"), b"damaged");
    let log = fs::read(&path).unwrap();
    let windows = (0..).zip(log.windows(word.len()));
    let places: Vec<u64> = windows.filter(|(_, window)| window == word).map(|(at, _)| at).collect();
    assert!(places.len() > 1);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"D", choose(&places)).unwrap();
    daemon.signal(Signal::CONT);

    daemon.wait_for("of the log was altered");
    daemon.wait_for("has damaged the database");
    eventually("a new generation", || site.listing().generations.len() == 2);
    connection.execute_batch("INSERT INTO texts VALUES ('later')").unwrap();
    drop(connection);
    daemon.stop();
    // It is replicated as the application sees it.
    site.check();
}
