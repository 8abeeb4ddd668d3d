//! What becomes of a fork once somebody has decided.

use std::fs;

use super::divergence::{lost_volume, restore_in_place};
use crate::support::{Process, Site, eventually, open, share_replica};

/// Everything expires soon.
const RETENTION: &str = "retention: 1s, retention-check-interval: 100ms, snapshot-interval: 200ms";

/// A database that is in a fork of what was replicated before.
fn in_a_fork() -> Site {
    let (site, _) = lost_volume();
    share_replica(&site, &site, RETENTION);
    site.write(2, 3);
    site.replicate().stop();
    site.check_fork();
    site
}

/// Writes until the forks are gone.
fn expect_no_forks(site: &Site) {
    let connection = open(&site.database());
    eventually("the fork has expired", || {
        connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
        site.forks().is_empty()
    });
}

/// Writes until something has expired.
fn expect_expiry(site: &Site, daemon: &Process) {
    let connection = open(&site.database());
    eventually("history has expired", || {
        connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
        daemon.says("delete expired history")
    });
}

/// It stayed for ever, and every command named it.
#[test]
fn a_fork_that_took_the_place_of_the_rest_expires() {
    let site = in_a_fork();
    let daemon = site.start(&mut site.command(&["replicate", "-on-divergence", "continue"]));
    expect_no_forks(&site);
    let log = daemon.stop();
    assert!(log.contains("delete a fork that has expired"), "{log}");
    site.check();
}

/// A script that restores at each start has decided nothing, and what is in the fork is nowhere else.
#[test]
fn a_fork_whose_database_was_given_up_is_kept() {
    let site = in_a_fork();
    let forks = site.forks();
    fs::remove_file(site.database()).unwrap();
    restore_in_place(&site);
    let daemon = site.replicate();
    expect_expiry(&site, &daemon);
    daemon.stop();
    site.check();
    assert_eq!(site.forks(), forks);
}

/// Nobody has decided: the other one is still what `restore` gives.
#[test]
fn a_fork_that_was_restored_itself_is_kept() {
    let site = in_a_fork();
    let fork = site.forks()[0].clone();
    fs::remove_file(site.database()).unwrap();
    let name = fork.file_name().unwrap().to_str().unwrap().to_owned();
    let database = site.database();
    let arguments = ["restore", "-fork", &name, database.to_str().unwrap()];
    site.start(&mut site.command(&arguments)).finish();
    let daemon = site.replicate();
    expect_expiry(&site, &daemon);
    daemon.stop();
    assert_eq!(site.forks(), [fork]);
    site.check_fork();
}
