//! A log that an application continues, copies and restarts while no daemon watches it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::support::{Process, Site, eventually, open};

fn checkpoint(connection: &Connection, mode: &str) {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_one(&sql, [], |_| Ok(())).unwrap();
}

fn insert(connection: &Connection, rows: u32) {
    for _ in 0..rows {
        connection.execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
    }
}

/// A daemon that has captured the beginning of a log, and was killed.
fn killed() -> (Site, Connection) {
    let site = Site::new();
    let daemon = site.begin();
    let connection = open(&site.database());
    insert(&connection, 5);
    eventually("it is captured", || site.listing().segments() > 0);
    eventually("it is sent", || site.staged().is_empty());
    daemon.kill();
    (site, connection)
}

fn check(site: &Site, connection: Connection, daemon: Process) {
    insert(&connection, 1);
    drop(connection);
    daemon.stop();
    site.check();
}

/// In shared memory the log is a new, empty one, while its file is still the old one with all that
/// was captured, as after a disk error when the new log is begun. What was committed after that
/// must be missed.
#[test]
fn one_that_is_new_in_shared_memory_only_is_another_one() {
    let (site, connection) = killed();
    insert(&connection, 5);
    let path = site.path("app.db-wal");
    let log = fs::read(&path).unwrap();
    checkpoint(&connection, "TRUNCATE");
    File::options().write(true).open(&path).unwrap().write_all_at(&log, 0).unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("the generation goes on");
    check(&site, connection, daemon);
}

/// The log is emptied just after it was compared with what was captured, and before the daemon
/// looks at what is new.
#[test]
fn one_that_is_emptied_when_it_was_just_compared_is_missed() {
    let (site, connection) = killed();
    for milliseconds in [0, 0, 1, 1, 2, 3] {
        insert(&connection, 4);
        checkpoint(&connection, "PASSIVE");
        let mut daemon = site.replicate();
        daemon.wait_for("initialized db");
        thread::sleep(Duration::from_millis(milliseconds));
        checkpoint(&connection, "TRUNCATE");
        insert(&connection, 1);
        eventually("it is sent", || {
            let restored = Connection::open(site.restore(&[])).unwrap();
            let count = |connection: &Connection| {
                let sql = "SELECT count(*) FROM t";
                connection.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap()
            };
            count(&restored) == count(&connection)
        });
        daemon.kill();
    }
    let daemon = site.replicate();
    check(&site, connection, daemon);
}
