//! The disk of a replica that is gone for a while.

use std::fs;

use crate::support::{Site, eventually};

/// Segments went to a new directory of the same name, which was hidden again as soon as the disk was
/// back: a hole in the history, with health `good` and exit code 0.
#[test]
fn what_is_written_meanwhile_is_sent_once_it_is_back() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 50ms");
    site.write(1, 20);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    site.write(2, 20);
    eventually("a segment", || site.listing().segments() > 0);
    let away = site.path("away");
    fs::rename(site.replica(), &away).unwrap();
    site.write(3, 20);
    daemon.wait_for("replica was there, and is not any more: is its disk mounted?");
    assert!(!site.replica().exists());
    fs::rename(&away, site.replica()).unwrap();
    site.write(4, 20);
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{log}");
    site.check();
}

/// Whoever removes it on purpose makes it again.
#[test]
fn one_that_is_made_again_gets_all_of_the_database() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 50ms");
    site.write(1, 20);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    fs::remove_dir_all(site.replica()).unwrap();
    site.write(2, 20);
    daemon.wait_for("is its disk mounted?");
    fs::create_dir(site.replica()).unwrap();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    daemon.stop();
    site.check();
}
