//! Logs that are taken away while the daemon has them open: by somebody's hand, or by an application
//! that does not see its locks.

use std::fs;

use rusqlite::Connection;
use rustix::process::Signal;

use super::divergence::side_files;
use super::overwriting::{checkpointing, settle_under};
use crate::support::{Process, Site, all_is_sent, insert, open};

const LOST: &str = "was removed or replaced while it was in use";

/// All that was committed is in the database file, and in the replica.
fn settled() -> (Site, Process) {
    let site = checkpointing("sync-interval: 50ms");
    site.write(1, 50);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    site.write(2, 5);
    settle_under(&site);
    (site, daemon)
}

fn commit_and_close(connection: Connection, number: u32) {
    insert(&connection, number);
    connection.close().unwrap();
}

/// The daemon went on to read a log that had no name any more, said that all was well, and ended
/// with 0, without what was committed since.
#[test]
fn what_is_committed_to_the_log_in_its_place_is_replicated() {
    for taken in [2, 1] {
        let (site, mut daemon) = settled();
        for path in &side_files(&site.database())[..taken] {
            fs::remove_file(path).unwrap();
        }
        commit_and_close(open(&site.database()), 100);
        daemon.wait_for(LOST);
        all_is_sent(&site, &site);
        commit_and_close(open(&site.database()), 101);
        all_is_sent(&site, &site);
        let log = daemon.stop();
        assert!(!log.contains("generation ended"), "it is compared, and not sent anew\n{log}");
        site.check();
    }
}

/// As long as somebody has the old files open, nothing of ours may be: it would be in the way of what
/// SQLite does when the last one closes the database, or even cut off what is still written to.
const WAITS: &str = "while an application has it open";

/// Commits with files that have no name any more, and copies them as an application does, while the
/// daemon waits; then as one that opens the database anew.
fn check_old_log(site: &Site, mut daemon: Process, application: Connection) {
    for number in 100..120 {
        insert(&application, number);
    }
    daemon.wait_for(WAITS);
    for number in 120..140 {
        insert(&application, number);
    }
    application.query_one("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    let count = |connection: &Connection| -> i64 {
        connection.query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    };
    let before = count(&application);
    application.close().unwrap();
    let application = open(&site.database());
    assert_eq!(count(&application), before, "nothing is lost");
    commit_and_close(application, 140);
    all_is_sent(site, site);
    daemon.stop();
    site.check();
}

/// The database was damaged by it, or the application lost what it had committed.
#[test]
fn an_application_that_still_has_the_old_log_loses_nothing() {
    for taken in [0..2, 1..2, 0..1] {
        let (site, mut daemon) = settled();
        let application = open(&site.database());
        insert(&application, 99);
        all_is_sent(&site, &site);
        for path in &side_files(&site.database())[taken.clone()] {
            fs::remove_file(path).unwrap();
        }
        if taken == (0..2) {
            insert(&application, 99);
            daemon.wait_for("replica is late");
        }
        check_old_log(&site, daemon, application);
    }
}

#[test]
fn a_log_that_is_replaced_by_a_copy_is_not_taken_for_the_one_in_use() {
    let (site, daemon) = settled();
    let application = open(&site.database());
    insert(&application, 99);
    all_is_sent(&site, &site);
    let [log, _] = side_files(&site.database());
    let copy = site.fresh("copy");
    fs::copy(&log, &copy).unwrap();
    fs::rename(copy, log).unwrap();
    check_old_log(&site, daemon, application);
}

/// At its start the daemon made an index of its own, and emptied the log under the application.
#[test]
fn a_database_whose_index_was_removed_is_not_touched_at_the_start() {
    let (site, daemon) = settled();
    daemon.stop();
    let application = open(&site.database());
    insert(&application, 99);
    let [_, index] = side_files(&site.database());
    fs::remove_file(index).unwrap();
    let daemon = site.replicate();
    check_old_log(&site, daemon, application);
}

/// At its start it cannot be seen that there is another one, but that it lacks something can.
#[test]
fn a_copy_of_a_log_that_lacks_what_is_committed_is_an_error() {
    let (site, daemon) = settled();
    daemon.stop();
    let application = open(&site.database());
    insert(&application, 99);
    let [log, _] = side_files(&site.database());
    let copy = site.fresh("copy");
    fs::copy(&log, &copy).unwrap();
    fs::rename(copy, log).unwrap();
    insert(&application, 100);
    let mut daemon = site.replicate();
    daemon.wait_for("replication is interrupted");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    application.close().unwrap();
}
