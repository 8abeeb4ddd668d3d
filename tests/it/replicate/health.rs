//! What is said while something is wrong, and for how long.

use std::fs;

use crate::support::{Site, exchange};

/// The store could not be reached, and nobody knew until the database was needed.
#[test]
fn a_replica_that_is_behind_is_late_and_good_again_afterwards() {
    let site = Site::new();
    site.write(1, 20);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    let hidden = site.path("hidden");
    fs::write(&hidden, "no directory").unwrap();
    exchange(&site.replica(), &hidden);
    site.write(2, 2);
    daemon.wait_for("replica is late");
    exchange(&site.replica(), &hidden);
    // Without another write.
    daemon.wait_for("replica is good again");
    daemon.stop();
    site.check();
}

#[test]
fn a_fork_is_failing_until_somebody_acts() {
    let site = Site::new();
    site.write(1, 20);
    site.replicate().stop();
    fs::remove_file(site.database()).unwrap();
    fs::remove_dir_all(site.state()).unwrap();
    site.write(2, 2);
    let mut daemon = site.replicate();
    daemon.wait_for("replica is failing");
    assert!(daemon.says("it holds another history"), "{}", daemon.log());
    daemon.stop();
}

/// Nothing had been captured yet, and so nothing was missed.
#[test]
fn a_database_that_cannot_be_taken_up_is_late() {
    let site = Site::new();
    site.write(1, 20);
    fs::create_dir_all(site.state().join("cursor")).unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("replication is interrupted");
    daemon.wait_for("replica is late");
    assert!(daemon.says("the database is not captured"), "{}", daemon.log());
    fs::remove_dir(site.state().join("cursor")).unwrap();
    daemon.wait_for("replica is good again");
    daemon.stop();
    site.check();
}
