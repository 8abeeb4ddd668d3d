//! Database files that are removed, renamed or replaced under the daemon, some time after their
//! application has closed them: without a daemon, SQLite would have left no log.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::divergence::side_files;
use crate::support::{
    Helper, Process, Role, Site, all_is_sent, assert_same, eventually, insert, open, settle,
};

const LOST: &str = "the database file was replaced by another one, or removed";

/// A site with commits that are only in its log, and its daemon, which copies them some seconds later.
/// The application has closed the database.
fn in_the_log() -> (Site, Process) {
    let site = Site::with(
        "monitor-interval: 50ms, checkpoint-interval: 1h, min-checkpoint-page-count: 100000",
        "sync-interval: 50ms",
    );
    // While an application has the database open, there is nothing to wait for.
    site.configure_also("shutdown-timeout: 3s");
    let daemon = site.begin();
    site.write(2, 20);
    (site, daemon)
}

fn rows(database: &Path) -> i64 {
    open(database).query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// A copy of the database with its log, and without touching either.
fn copy(site: &Site) -> PathBuf {
    let copy = site.fresh("copy");
    let [log, _] = side_files(&site.database());
    let [log_of_copy, _] = side_files(&copy);
    fs::copy(site.database(), &copy).unwrap();
    fs::copy(log, log_of_copy).unwrap();
    settle(&copy);
    copy
}

/// Another database, of which nothing else is there.
fn another(site: &Site) -> PathBuf {
    let other = site.fresh("other");
    let connection = open(&other);
    connection
        .execute_batch(
            "PRAGMA journal_mode = delete; CREATE TABLE t (number); INSERT INTO t VALUES (1)",
        )
        .unwrap();
    connection.close().unwrap();
    other
}

/// Whoever copies it then does not look for a log.
#[test]
fn one_that_its_application_has_closed_is_complete() {
    let (site, daemon) = in_the_log();
    let connection = open(&site.database());
    insert(&connection, 7);
    let before = rows(&site.database());
    connection.close().unwrap();
    eventually("all of the log is in the file", || {
        let copy = site.fresh("copy");
        fs::copy(site.database(), &copy).unwrap();
        rows(&copy) == before
    });
    daemon.stop();
    site.check();
}

#[test]
fn one_that_is_renamed_takes_all_of_its_log_along() {
    let (site, mut daemon) = in_the_log();
    let (before, moved) = (rows(&site.database()), site.path("moved.db"));
    fs::rename(site.database(), &moved).unwrap();
    daemon.wait_for(LOST);
    eventually("all of the log is in the file", || rows(&moved) == before);
    daemon.stop();
    settle(&moved);
    site.check_restore(&[], &moved);
}

#[test]
fn what_was_committed_just_before_it_is_removed_is_on_the_replica() {
    for removed in 1..=3 {
        let (site, daemon) = in_the_log();
        let connection = open(&site.database());
        insert(&connection, 7);
        connection.close().unwrap();
        let copy = copy(&site);
        let [log, index] = side_files(&site.database());
        for path in [site.database(), log, index].iter().take(removed) {
            fs::remove_file(path).unwrap();
        }
        daemon.stop();
        site.check_restore(&[], &copy);
    }
}

/// The application was locked out of the new file, or the old log was applied to it.
#[test]
fn another_one_that_comes_later_is_left_alone_and_is_a_fork() {
    for gap in [0, 300] {
        let (site, mut daemon) = in_the_log();
        all_is_sent(&site, &site);
        let before = copy(&site);
        let other = another(&site);
        fs::remove_file(site.database()).unwrap();
        thread::sleep(Duration::from_millis(gap));
        fs::rename(&other, site.database()).unwrap();
        daemon.wait_for(LOST);
        let connection = open(&site.database());
        connection.busy_timeout(Duration::from_secs(2)).unwrap();
        insert(&connection, 2);
        eventually("a fork", || !site.forks().is_empty());
        drop(connection);
        daemon.stop();
        assert_eq!(rows(&site.database()), 2);
        settle(&site.database());
        site.check_fork();
        site.check_restore(&[], &before);
    }
}

/// What was missed of a database that is gone must not keep the one in its place from being captured
/// to its end.
#[test]
fn another_one_is_captured_to_its_end_though_something_was_missed_before() {
    let site = Site::new();
    let nobody = "type: s3, endpoint: 'http://127.0.0.1:9', bucket: b, path: db, region: r";
    let replica = format!("path: {}, sync-interval: 1h", site.replica().display());
    site.configure("monitor-interval: 50ms", &[&replica, nobody]);
    site.configure_also("shutdown-timeout: 3s");
    let mut daemon = site.begin();
    for path in [site.database()].iter().chain(&side_files(&site.database())) {
        fs::remove_file(path).unwrap();
    }
    daemon.wait_for(LOST);
    site.write(3, 10);
    eventually("a fork", || !site.forks().is_empty());
    daemon.wait_for("snapshot written");
    site.write(4, 10);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    for text in ["not every replica had a copy of it", "its snapshot was not stored yet"] {
        assert!(daemon.says(text), "{text}: {}", daemon.log());
    }
    site.check_fork();
}

const IN_USE: &str = "was removed, renamed or replaced while an application has it open";

/// What such an application commits is in no file that has a name.
#[test]
fn one_that_is_removed_while_it_is_in_use_is_sent_once_that_has_ended() {
    let (site, mut daemon) = in_the_log();
    let connection = open(&site.database());
    let copy = copy(&site);
    fs::remove_file(site.database()).unwrap();
    daemon.wait_for(IN_USE);
    insert(&connection, 7);
    daemon.wait_for("replica is late");
    insert(&open(&copy), 7);
    connection.close().unwrap();
    daemon.wait_for(LOST);
    daemon.stop();
    settle(&copy);
    site.check_restore(&[], &copy);
}

#[test]
fn one_that_is_removed_and_in_use_to_the_end_is_not_said_to_be_replicated() {
    let (site, mut daemon) = in_the_log();
    let application = Helper::start(Role::Reader, &site.database());
    fs::remove_file(site.database()).unwrap();
    daemon.wait_for(IN_USE);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    assert!(daemon.says("could not be captured to its end"), "{}", daemon.log());
    application.finish();
}

/// The log belongs to the application that has the old file open, and would be applied to the new
/// one by whoever opens that.
#[test]
fn one_that_is_replaced_while_it_is_in_use_is_followed_once_that_has_ended() {
    let (site, mut daemon) = in_the_log();
    let before = copy(&site);
    let application = Helper::start(Role::Reader, &site.database());
    let [other, old] = [another(&site), site.path("old.db")];
    all_is_sent(&site, &site);
    fs::rename(site.database(), &old).unwrap();
    fs::rename(&other, site.database()).unwrap();
    daemon.wait_for(IN_USE);
    assert_eq!(site.forks().len(), 0);
    application.finish();
    eventually("a fork", || !site.forks().is_empty());
    daemon.stop();
    assert_eq!(rows(&site.database()), 1);
    settle(&site.database());
    site.check_fork();
    site.check_restore(&[], &before);
    settle(&old);
    assert_same(&before, &old);
}

#[test]
fn one_that_is_put_back_goes_on() {
    let (site, mut daemon) = in_the_log();
    let (connection, away) = (open(&site.database()), site.path("away.db"));
    fs::rename(site.database(), &away).unwrap();
    daemon.wait_for(IN_USE);
    insert(&connection, 7);
    fs::rename(&away, site.database()).unwrap();
    daemon.wait_for("replication goes on");
    insert(&connection, 8);
    connection.close().unwrap();
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{log}");
    site.check();
}
