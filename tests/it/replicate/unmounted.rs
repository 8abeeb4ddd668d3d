//! The disk of a replica that is gone for a while.

use std::fs;

use super::directories::{check, first_of, make};
use crate::support::{Site, eventually, settle};

/// Segments went to a new directory of the same name, which was hidden again as soon as the disk was
/// back: a hole in the history, with health `good` and exit code 0.
#[test]
fn what_is_written_meanwhile_is_sent_once_it_is_back() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 50ms");
    let mut daemon = site.begin();
    site.write(2, 20);
    eventually("a segment", || site.listing().segments() > 0);
    let away = site.path("away");
    fs::rename(site.replica(), &away).unwrap();
    site.write(3, 20);
    daemon.wait_for("replica was there, and is missing or another one: is its disk mounted?");
    assert!(!site.replica().exists());
    fs::rename(&away, site.replica()).unwrap();
    site.write(4, 20);
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{log}");
    site.check();
}

/// A daemon that was once started without the disk has left something below its mount point.
#[test]
fn nothing_goes_to_another_directory_of_that_name() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 50ms");
    let mut daemon = site.begin();
    let [away, other] = ["away", "other"].map(|name| site.path(name));
    fs::create_dir(&other).unwrap();
    fs::write(other.join("left"), "").unwrap();
    fs::rename(site.replica(), &away).unwrap();
    fs::rename(&other, site.replica()).unwrap();
    site.write(2, 20);
    daemon.wait_for("is its disk mounted?");
    assert_eq!(fs::read_dir(site.replica()).unwrap().count(), 1);
    fs::rename(site.replica(), &other).unwrap();
    fs::rename(&away, site.replica()).unwrap();
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{log}");
    site.check();
}

/// Whoever removes it on purpose starts the daemon again.
#[test]
fn one_that_was_removed_gets_all_of_the_database_at_the_next_start() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 50ms");
    let mut daemon = site.begin();
    fs::remove_dir_all(site.replica()).unwrap();
    site.write(2, 20);
    daemon.wait_for("is its disk mounted?");
    daemon.kill();
    site.replicate().stop();
    site.check();
}

/// Its own directory never was on the disk, and was made below the mount point.
#[test]
fn a_new_database_waits_for_the_disk_of_the_others() {
    let (site, [first, second], mut daemon) = first_of(["first.db", "second.db"]);
    let away = site.path("away");
    fs::rename(site.replica(), &away).unwrap();
    fs::create_dir(site.replica()).unwrap();
    make(&second, 10);
    daemon.wait_for("there were other replicas in");
    assert_eq!(fs::read_dir(site.replica()).unwrap().count(), 0);
    fs::remove_dir(site.replica()).unwrap();
    fs::rename(&away, site.replica()).unwrap();
    daemon.wait_for("snapshot written");
    daemon.stop();
    for database in [first, second] {
        settle(&database);
        check(&site, &database, &database);
    }
}
