//! A disk, or another program, that alters what was committed to the log.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use rustix::process::Signal;

use crate::support::{Site, eventually, open};

/// A frame that was damaged before it was read was read again for ever, and nothing that was written
/// after it was replicated.
#[test]
fn a_frame_that_was_altered_is_said_and_ends_the_generation() {
    let site = Site::new();
    site.write(1, 50);
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE texts (text)").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    connection.execute_batch("INSERT INTO texts VALUES ('replicated')").unwrap();
    eventually("a segment", || site.listing().segments() > 0);

    daemon.pause();
    let text = "damaged".repeat(1000);
    connection.execute("INSERT INTO texts VALUES (?)", [&text]).unwrap();
    connection.execute_batch("INSERT INTO texts VALUES ('behind it')").unwrap();
    let path = site.path("app.db-wal");
    let log = fs::read(&path).unwrap();
    let word = b"damageddamaged";
    let at = log.windows(word.len()).position(|window| window == word).unwrap();
    File::options().write(true).open(&path).unwrap().write_all_at(b"D", at as u64).unwrap();
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
