//! Another database under the name of the replicated one, and what only looks like it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Row};
use rustix::process::Signal;

use crate::support::{Process, Site, eventually, open, settle};

/// A file that is overwritten in place while no daemon runs must not be taken for the earlier
/// database: `restore` would give the other one.
#[test]
fn a_file_that_was_overwritten_in_place_goes_on_in_a_fork() {
    let fresh = "CREATE TABLE another (x); INSERT INTO another VALUES (1)";
    // Changed at least as often as the earlier one, so that the header does not show it.
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
        // This keeps the file and replaces its content.
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

/// A running daemon must not notice this only at the next snapshot. Until then, restores would
/// claim to be identical to a source that is another database; after it, the other one would hide
/// what was there.
#[test]
fn a_file_that_is_overwritten_under_a_daemon_goes_on_in_a_fork_at_once() {
    let truncated: fn(&Site, &Path) = |site, _| {
        let file = fs::File::options().write(true).open(site.database()).unwrap();
        file.set_len(4096).unwrap();
    };
    let copied: fn(&Site, &Path) = |site, other| {
        fs::copy(other, site.database()).unwrap();
    };
    // All of the log was in the file, so nothing of it was lost. The generation must not go on
    // with what is now another database.
    let without_index: fn(&Site, &Path) = |site, other| {
        fs::remove_file(site.database().with_extension("db-shm")).unwrap();
        fs::copy(other, site.database()).unwrap();
    };
    for (overwrite, is_whole) in [(copied, true), (truncated, false), (without_index, true)] {
        let site = checkpointing("sync-interval: 50ms");
        site.write(1, 50);
        let other = site.fresh("other");
        open(&other)
            .execute_batch("CREATE TABLE another (x); INSERT INTO another VALUES (1)")
            .unwrap();
        settle(&other);
        let mut daemon = site.replicate();
        daemon.wait_for("snapshot written");
        site.write(2, 5);
        let before = settle_under(&site);
        daemon.pause();
        overwrite(&site, &other);
        let began = Instant::now();
        daemon.signal(Signal::CONT);
        daemon.wait_for("the database file was overwritten in place");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        if is_whole {
            daemon.wait_for("DIVERGED");
            eventually("a fork", || !site.forks().is_empty());
        }
        daemon.kill();
        site.check_restore(&[], &before);
    }
}

/// A site whose log is soon copied into the database file.
pub(super) fn checkpointing(replica: &str) -> Site {
    Site::with("monitor-interval: 50ms, min-checkpoint-page-count: 1", replica)
}

/// Waits until the log has been copied and all of it replicated. Returns a copy of the database.
pub(super) fn settle_under(site: &Site) -> PathBuf {
    let connection = open(&site.database());
    eventually("a complete checkpoint", || {
        let frames = |row: &Row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (all, copied) =
            connection.query_one("PRAGMA wal_checkpoint(NOOP)", [], frames).unwrap();
        all == copied
    });
    let settled = site.fresh("settled");
    fs::copy(site.database(), &settled).unwrap();
    eventually("all is replicated", || {
        fs::read(site.restore(&[])).unwrap() == fs::read(&settled).unwrap()
    });
    settled
}

/// A disk or another program damages a page that nobody wrote to. The next snapshot, which
/// contains it, must not begin a generation in place of the undamaged one, which would then
/// expire.
#[test]
fn a_page_that_is_not_what_was_captured_leads_to_a_fork() {
    let site = checkpointing("sync-interval: 50ms, snapshot-interval: 3s");
    site.write(1, 200);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    site.write(2, 5);
    let before = settle_under(&site);
    let file = fs::File::options().write(true).open(site.database()).unwrap();
    let size = file.metadata().unwrap().len();
    file.write_all_at(b"damaged", size - 100).unwrap();
    daemon.wait_for("the database file is not what was captured from its log");
    daemon.wait_for("DIVERGED");
    eventually("a fork", || !site.forks().is_empty());
    daemon.kill();
    site.check_restore(&[], &before);
}

/// What an application does while no daemon runs must not be taken for overwriting. Dropping a
/// full-text index comes close, since that consists of five tables.
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

/// A database that becomes unreadable to SQLite under a daemon.
struct Unreadable {
    site: Site,
    daemon: Process,
    /// The connection of an application that does not notice. It must be closed before `file`:
    /// closing that first would drop its locks in this process.
    connection: Connection,
    file: fs::File,
    /// The original header of the file.
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

        // The log is no longer copied, so that nobody knows what the file must contain.
        connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE); SELECT * FROM u").unwrap();
        let reader = open(&site.database());
        reader.execute_batch("BEGIN; SELECT * FROM u").unwrap();
        let segments = site.listing().segments();
        connection.execute_batch("UPDATE u SET x = 2").unwrap();
        eventually("a segment", || site.listing().segments() > segments);
        thread::sleep(Duration::from_millis(500));
        // The connection has the first page in memory, and does not notice.
        let file = fs::File::options().read(true).write(true).open(site.database()).unwrap();
        let mut header = [0; 100];
        file.read_exact_at(&mut header, 0).unwrap();
        file.write_all_at(&[0; 100], 0).unwrap();
        daemon.wait_for("replication is interrupted");
        drop(reader);
        Self { site, daemon, connection, file, header }
    }
}

/// What is committed while the database cannot be read is on no replica, so success must not be
/// reported.
#[test]
fn a_database_that_cannot_be_read_at_the_end_is_said_not_to_be_replicated() {
    let Unreadable { site, mut daemon, connection, file, .. } = Unreadable::new();
    connection.execute_batch("UPDATE u SET x = 3").unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    let line = "app.db could not be captured to its end: ";
    assert!(daemon.says(line), "{}", daemon.log());
    drop((connection, file, site));
}

/// While the database cannot be read, it must still be noticed that another file takes its place.
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
