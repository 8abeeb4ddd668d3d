//! What happens to a database while no daemon watches it, and what only looks like a loss.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use litestream::failpoint::Failpoint;
use rusqlite::Row;
use rustix::process::Signal;

use crate::support::{Helper, Process, Role, Site, eventually, open, settle};

/// Sets the modification time of a file to `hours` hours ago.
fn set_age(path: &Path, hours: u64) {
    let time = SystemTime::now() - Duration::from_hours(hours);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn log(site: &Site) -> PathBuf {
    site.path("app.db-wal")
}

fn remove_log(site: &Site) {
    fs::remove_file(log(site)).unwrap();
    fs::remove_file(site.path("app.db-shm")).unwrap();
}

/// A database whose log is captured, but not copied into its file; a copy from earlier; and a copy
/// with that log.
fn captured() -> (Site, PathBuf, PathBuf) {
    let site = Site::new();
    site.write(1, 50);
    let older = site.keep_copy();
    site.write(2, 20);
    set_age(&site.database(), 1);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    site.write(3, 5);
    daemon.stop();
    let newer = site.path("newer.db");
    fs::copy(site.database(), &newer).unwrap();
    fs::copy(log(&site), site.path("newer.db-wal")).unwrap();
    settle(&newer);
    (site, older, newer)
}

fn expect_a_fork(site: &Site, reason: &str, newer: &Path) {
    let mut daemon = site.replicate();
    daemon.wait_for(reason);
    daemon.wait_for("DIVERGED");
    eventually("a fork", || !site.forks().is_empty());
    daemon.stop();
    site.check_restore(&[], newer);
}

fn expect_no_fork(site: &Site, daemon: Process) {
    let said = daemon.stop();
    assert!(!said.contains("level=ERROR"), "{said}");
    site.check();
}

/// A user who takes the `-wal` file for a temporary one loses the last commits, and must be told
/// that the replica has them, and the replica must keep them beyond the retention.
#[test]
fn a_log_that_is_removed_while_nothing_watches_it_leads_to_a_fork() {
    for begins_another in [false, true] {
        let (site, _, newer) = captured();
        remove_log(&site);
        let application = begins_another.then(|| {
            let application = open(&site.database());
            application.execute_batch("PRAGMA user_version = 1").unwrap();
            application
        });
        expect_a_fork(&site, "the -wal file was removed while nothing watched it", &newer);
        drop(application);
        site.check_fork();
    }
}

#[test]
fn an_older_copy_that_keeps_its_time_leads_to_a_fork() {
    for beside_its_log in [false, true] {
        let (site, older, newer) = captured();
        if !beside_its_log {
            remove_log(&site);
        }
        fs::copy(&older, site.database()).unwrap();
        set_age(&site.database(), 2);
        expect_a_fork(&site, "the database file was overwritten by an older copy", &newer);
    }
}

/// The cursor that the first segment leaves must contain when the file was last written.
#[test]
fn a_log_with_the_first_segment_is_missed_after_the_daemon_was_killed() {
    let site = Site::new();
    site.write(1, 5);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    // After this the file is known to be settled.
    thread::sleep(Duration::from_millis(2500));
    // While it reads, the log is not copied to its end.
    let application = Helper::start(Role::Reader, &site.database());
    open(&site.database()).execute_batch("PRAGMA user_version = 7").unwrap();
    let newer = site.path("newer.db");
    eventually("it is replicated", || {
        let restored = site.restore(&[]);
        let version = |row: &Row| row.get::<_, i64>(0);
        let found = open(&restored).query_one("PRAGMA user_version", [], version).unwrap();
        fs::rename(restored, &newer).unwrap();
        found == 7
    });
    daemon.kill();
    application.kill();
    remove_log(&site);
    expect_a_fork(&site, "the -wal file was removed while nothing watched it", &newer);
}

/// The store is down when the loss is found, and the application goes on. The next daemon must
/// still know of the loss, and not follow the older state.
#[test]
fn a_loss_is_known_to_the_next_process() {
    let (site, _, newer) = captured();
    remove_log(&site);
    site.arm(&format!("{} = eio", Failpoint::ObjectReading.name()));
    let mut daemon = site.replicate();
    daemon.wait_for("the -wal file was removed while nothing watched it");
    daemon.wait_for("generation ended");
    let application = open(&site.database());
    application.execute_batch("PRAGMA user_version = 1").unwrap();
    application.query_one("PRAGMA wal_checkpoint", [], |_| Ok(())).unwrap();
    daemon.kill();
    site.disarm();
    expect_a_fork(&site, "the database is not what was captured", &newer);
    drop(application);
    site.check_fork();
    site.replicate().stop();
    assert_eq!(site.forks().len(), 1);
}

/// Switching the database to WAL mode writes to it, which must not happen before its time is
/// looked at.
#[test]
fn an_older_copy_of_before_wal_mode_leads_to_a_fork() {
    let site = Site::new();
    let application = open(&site.database());
    application.execute_batch("PRAGMA journal_mode = delete; CREATE TABLE t (x)").unwrap();
    application.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    drop(application);
    let older = site.path("older.db");
    fs::copy(site.database(), &older).unwrap();
    set_age(&site.database(), 1);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    open(&site.database()).execute_batch("UPDATE t SET x = 2").unwrap();
    daemon.stop();
    let newer = site.keep_copy();
    set_age(&site.database(), 1);
    site.replicate().stop();
    settle(&site.database());
    fs::copy(&older, site.database()).unwrap();
    set_age(&site.database(), 2);
    expect_a_fork(&site, "the database file was overwritten by an older copy", &newer);
}

/// The time of the copy must not be accepted, or the next daemon follows the older state.
#[test]
fn an_older_copy_under_a_daemon_leads_to_a_fork() {
    let site = Site::new();
    let sql = "CREATE TABLE u (x); CREATE TABLE v (x); INSERT INTO u VALUES (1); \
               INSERT INTO v VALUES (1)";
    open(&site.database()).execute_batch(sql).unwrap();
    let older = site.keep_copy();
    let mut daemon = site.begin();
    let application = open(&site.database());
    let commit = |sql: &str| {
        let before = site.listing().segments();
        application.execute_batch(sql).unwrap();
        eventually("it is captured", || site.listing().segments() > before);
    };
    settle(&older);
    commit("UPDATE v SET x = 2");
    application.query_one("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    // After this the file is known to be settled.
    thread::sleep(Duration::from_millis(2500));
    commit("UPDATE u SET x = 2");
    // It has the same size and the same header, since the writes did not change the schema.
    let bytes = fs::metadata(site.database()).unwrap().len();
    let mut copy = fs::read(&older).unwrap();
    let now = fs::read(site.database()).unwrap();
    copy.resize(usize::try_from(bytes).unwrap(), 0);
    copy[..100].copy_from_slice(&now[..100]);
    File::options().write(true).open(site.database()).unwrap().write_all_at(&copy, 0).unwrap();
    set_age(&site.database(), 2);
    application.execute_batch("UPDATE u SET x = 3").unwrap();
    daemon.wait_for("the database file was overwritten by an older copy");
    daemon.wait_for("DIVERGED");
    eventually("a fork", || !site.forks().is_empty());
    daemon.stop();
    let restored = open(&site.restore(&[]));
    let value = |row: &Row| row.get::<_, i64>(0);
    assert_eq!(restored.query_one("SELECT x FROM v", [], value).unwrap(), 2);
}

/// Only the time of the file is set.
#[test]
fn an_earlier_time_under_a_daemon_is_no_older_copy() {
    let site = Site::new();
    let daemon = site.begin();
    let application = open(&site.database());
    application.execute_batch("PRAGMA user_version = 1").unwrap();
    application.query_one("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    thread::sleep(Duration::from_millis(2500));
    for (version, hours) in [(2, 1), (3, 2)] {
        let before = site.listing().segments();
        application.pragma_update(None, "user_version", version).unwrap();
        eventually("it is captured", || site.listing().segments() > before);
        set_age(&site.database(), hours);
    }
    application.execute_batch("PRAGMA user_version = 4").unwrap();
    drop(application);
    expect_no_fork(&site, daemon);
}

/// The application has copied the log.
#[test]
fn a_log_that_was_copied_and_removed_is_no_loss() {
    let (site, ..) = captured();
    let application = open(&site.database());
    application.execute_batch("PRAGMA user_version = 1").unwrap();
    drop(application);
    assert!(!log(&site).exists());
    let mut daemon = site.replicate();
    daemon.wait_for("the generation goes on");
    expect_no_fork(&site, daemon);
}

/// Commits that were in the file but never captured when the previous daemon ended are no loss.
#[test]
fn commits_that_no_daemon_came_to_see_are_no_loss() {
    let (site, ..) = captured();
    let application = open(&site.database());
    application.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 1").unwrap();
    application.query_one("PRAGMA wal_checkpoint", [], |_| Ok(())).unwrap();
    site.arm(&format!("{} = eio", Failpoint::SegmentCreating.name()));
    set_age(&site.database(), 1);
    let mut daemon = site.replicate();
    daemon.wait_for("replication is interrupted");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    site.disarm();
    drop(application);
    assert!(!log(&site).exists());
    let mut daemon = site.replicate();
    daemon.wait_for("the generation goes on");
    expect_no_fork(&site, daemon);
}
