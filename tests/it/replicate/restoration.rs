//! Databases that are restored into their place while a daemon waits for them.

use std::fs;

use super::divergence::{lost_volume, restore_in_place, side_files};
use litestream::failpoint::{Failpoint, SCRIPT};

use crate::support::{Site, all_is_sent, eventually, insert, open};

fn remove(site: &Site) {
    fs::remove_file(site.database()).unwrap();
    for path in side_files(&site.database()) {
        let _ = fs::remove_file(path);
    }
}

/// A restore decides between the two histories, so the daemon must not go on in the fork until it
/// is restarted.
#[test]
fn a_restore_under_a_daemon_ends_the_fork() {
    let (site, _) = lost_volume();
    site.write(2, 3);
    let mut daemon = site.replicate();
    daemon.wait_for("DIVERGED");
    eventually("the fork has begun", || !site.forks().is_empty());
    let generation = site.listing().only().name.clone();
    remove(&site);
    daemon.wait_for("waiting for the database");
    restore_in_place(&site);
    daemon.wait_for("the database was restored, and is followed anew");
    daemon.wait_for("the generation goes on");
    site.write(3, 20);
    let log = daemon.stop();
    assert_eq!(log.matches("DIVERGED: replicating to a fork").count(), 1, "{log}");
    site.check();
    assert_eq!(site.listing().only().name, generation, "it goes on");
}

/// The daemon starts without its state, and before there is a file at all.
#[test]
fn a_restore_under_a_daemon_that_waits_from_the_start_goes_on() {
    let (site, _) = lost_volume();
    let generation = site.listing().only().name.clone();
    let mut daemon = site.replicate();
    daemon.wait_for("waiting for the database");
    restore_in_place(&site);
    daemon.wait_for("the generation goes on");
    site.write(3, 20);
    daemon.stop();
    site.check();
    assert_eq!(site.listing().only().name, generation);
    assert!(site.forks().is_empty());
}

/// To see which file was restored, the daemon must not open and close it, which would drop its
/// locks: an application that closes the database last would delete the log with its commits, and
/// the daemon would never see them, and end with 0.
#[test]
fn what_is_committed_and_closed_after_a_restore_is_replicated() {
    for found_at_the_start in [true, false] {
        let (site, _) = lost_volume();
        if found_at_the_start {
            restore_in_place(&site);
        }
        let mut daemon = site.replicate();
        if !found_at_the_start {
            daemon.wait_for("waiting for the database");
            restore_in_place(&site);
        }
        daemon.wait_for("the generation goes on");
        let [log, _] = side_files(&site.database());
        for number in 0..3 {
            let connection = open(&site.database());
            insert(&connection, number);
            drop(connection);
            assert!(log.exists(), "who closes it last takes the log away\n{}", daemon.log());
            all_is_sent(&site, &site);
        }
        daemon.stop();
        site.check();
    }
}

/// A restore may fill the disk. That must not end the daemon, for all databases.
#[test]
fn a_restored_database_that_cannot_be_followed_yet_is_tried_again() {
    let (site, _) = lost_volume();
    site.serve();
    let mut daemon = site.replicate();
    daemon.wait_for("waiting for the database");
    site.arm(&format!("{} = enospc", Failpoint::StateRenaming.name()));
    let mut restore = site.command(&["restore", site.database().to_str().unwrap()]);
    site.start(restore.env_remove(SCRIPT)).finish();
    daemon.wait_for("it cannot be followed, will retry");
    let (status, health) = daemon.ask("/health");
    assert!(status == 503 && health.contains("it is not followed: see the log"), "{health}");
    site.disarm();
    daemon.wait_for("the generation goes on");
    site.write(3, 20);
    daemon.stop();
    site.check();
}
