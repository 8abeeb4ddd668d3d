//! Another database under the name of the one that was replicated, and what only looks like that.

use std::fs;
use std::os::unix::fs::FileExt;

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{Process, Site, eventually, open, settle};

/// A file that was overwritten in place, while no daemon ran, was taken for the database that it
/// had been: `restore` gave the other one.
#[test]
fn a_file_that_was_overwritten_in_place_goes_on_in_a_fork() {
    let fresh = "CREATE TABLE another (x); INSERT INTO another VALUES (1)";
    // As often changed as the one of before, and more often: the header does not tell.
    let older = format!("{fresh}; {}", "CREATE TABLE more (x); DROP TABLE more; ".repeat(100));
    let other_pages =
        format!("{older} PRAGMA journal_mode = delete; PRAGMA page_size = 8192; VACUUM");
    for other in [None, Some(fresh), Some(&older), Some(&other_pages)] {
        let site = Site::new();
        site.write(1, 20);
        let mut copied = site.keep_copy();
        let daemon = site.replicate();
        site.write(2, 20);
        daemon.stop();
        let before = site.keep_copy();
        if let Some(statements) = other {
            copied = site.fresh("other");
            open(&copied).execute_batch(statements).unwrap();
            settle(&copied);
        }
        // The same file, with another content.
        fs::copy(&copied, site.database()).unwrap();
        let mut daemon = site.replicate();
        daemon.wait_for("overwritten in place");
        daemon.wait_for("DIVERGED");
        eventually("a fork", || !site.forks().is_empty());
        daemon.stop();
        site.check_restore(&[], &before);
        site.check_fork();
    }
}

/// What an application does while no daemon runs is not to be taken for that. One that dropped its
/// full-text index would have been, for that is made of five tables.
#[test]
fn an_application_may_change_everything_while_nobody_watches() {
    let rename = "ALTER TABLE t RENAME TO renamed; CREATE TABLE t (x); INSERT INTO t VALUES (1)";
    let without_index = "DROP TABLE search; DELETE FROM t; VACUUM";
    for statements in
        ["DELETE FROM t; VACUUM", "PRAGMA journal_mode = delete; VACUUM", rename, without_index]
    {
        let site = Site::new();
        site.write(1, 100);
        open(&site.database()).execute_batch("CREATE VIRTUAL TABLE search USING fts5(x)").unwrap();
        site.replicate().stop();
        open(&site.database()).execute_batch(statements).unwrap();
        settle(&site.database());
        let log = site.replicate().stop();
        assert!(!log.contains("DIVERGED"), "{log}");
        site.check();
    }
}

/// A database that SQLite cannot read any more under a daemon.
struct Unreadable {
    site: Site,
    daemon: Process,
    /// Of an application that does not notice. It is closed before the file: in this process, that
    /// would end its locks.
    connection: Connection,
    file: fs::File,
    /// What the file began with.
    header: [u8; 100],
}

impl Unreadable {
    fn new() -> Self {
        let site = Site::new();
        let replica = format!("path: {}, sync-interval: 50ms", site.replica().display());
        site.configure("monitor-interval: 50ms, min-checkpoint-page-count: 1", &[&replica]);
        site.configure_also("shutdown-timeout: 1s");
        site.write(1, 50);
        let connection = open(&site.database());
        connection.execute_batch("CREATE TABLE u (x); INSERT INTO u VALUES (1)").unwrap();
        let mut daemon = site.replicate();
        daemon.wait_for("snapshot written");

        // The connection has the first page in memory, and does not see that.
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); SELECT * FROM u").unwrap();
        let file = fs::File::options().read(true).write(true).open(site.database()).unwrap();
        let mut header = [0; 100];
        file.read_exact_at(&mut header, 0).unwrap();
        file.write_all_at(&[0; 100], 0).unwrap();
        connection.execute_batch("UPDATE u SET x = 2").unwrap();
        daemon.wait_for("replication is interrupted");
        Self { site, daemon, connection, file, header }
    }
}

/// What was committed while the database could not be read was on no replica, and the end was said
/// to be a good one.
#[test]
fn a_database_that_cannot_be_read_at_the_end_is_said_not_to_be_replicated() {
    let Unreadable { site, mut daemon, connection, file, .. } = Unreadable::new();
    connection.execute_batch("UPDATE u SET x = 3").unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    let line = "app.db could not be read at the end: what was committed last may not be on replica";
    assert!(daemon.says(line), "{}", daemon.log());
    drop((connection, file, site));
}

/// While the database could not be read, nobody saw that another file took its place.
#[test]
fn a_file_that_comes_back_as_another_one_goes_on_in_a_fork() {
    let Unreadable { site, mut daemon, connection, file, header } = Unreadable::new();
    let other = site.fresh("other");
    open(&other).execute_batch("CREATE TABLE u (x); INSERT INTO u VALUES (3)").unwrap();
    settle(&other);
    daemon.pause();
    file.write_all_at(&header, 0).unwrap();
    drop((connection, file));
    let before = site.keep_copy();
    fs::rename(&other, site.database()).unwrap();
    daemon.signal(Signal::CONT);
    daemon.wait_for("DIVERGED");
    eventually("a fork", || !site.forks().is_empty());
    daemon.stop();
    site.check_fork();
    site.check_restore(&[], &before);
}
