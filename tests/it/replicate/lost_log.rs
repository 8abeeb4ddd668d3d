//! Logs that are taken away while the daemon has them open: by somebody's hand, or by an application
//! that does not see its locks.

use std::fs;

use rusqlite::Connection;

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

/// It has the old log, and what it commits there is lost to everybody else. That is said, and what
/// there is after its end is what the replica has.
#[test]
fn an_application_that_still_has_the_old_log_is_named_the_remedy() {
    let (site, mut daemon) = settled();
    let application = open(&site.database());
    let [log, index] = side_files(&site.database());
    fs::remove_file(log).unwrap();
    fs::remove_file(index).unwrap();
    insert(&application, 100);
    daemon.wait_for(LOST);
    daemon.wait_for("restart it");
    application.close().unwrap();
    commit_and_close(open(&site.database()), 101);
    all_is_sent(&site, &site);
    daemon.stop();
    site.check();
}
