//! Databases that are restored into their place while a daemon waits for them.

use std::fs;

use super::divergence::{lost_volume, restore_in_place, side_files};
use crate::support::{Site, eventually};

fn remove(site: &Site) {
    fs::remove_file(site.database()).unwrap();
    for path in side_files(&site.database()) {
        let _ = fs::remove_file(path);
    }
}

/// The decision between the two histories was made, and the daemon went on in the fork until it was
/// started again.
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

/// Without its state, and before there is a file at all.
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
