//! Several replicas, some of which cannot be reached.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Process, Site, Workload, eventually, exchange, open};

/// Two replicas. The second is in `far/replica`, and cannot be reached while `far` is a file.
fn site(shutdown_timeout: &str) -> Site {
    let site = Site::new();
    let replica = |name: &str, path: &str| {
        format!("name: {name}, path: {}, sync-interval: 20ms", site.path(path).display())
    };
    site.configure(
        "monitor-interval: 20ms, min-checkpoint-page-count: 20",
        &[&replica("near", "replica"), &replica("far", "far/replica")],
    );
    site.configure_also(&format!("shutdown-timeout: {shutdown_timeout}"));
    site
}

fn far_snapshots(site: &Site) -> usize {
    crate::support::Listing::of(&site.path("far/replica")).snapshots()
}

fn check_both(site: &Site) {
    site.check();
    for replica in ["near", "far"] {
        site.check_restore(&["-replica", replica], &site.database());
    }
}

/// Moves the second replica away, and puts a file in its place.
fn cut_off(site: &Site) {
    fs::write(site.path("away"), "").unwrap();
    exchange(&site.path("far"), &site.path("away"));
}

fn reconnect(site: &Site) {
    exchange(&site.path("far"), &site.path("away"));
    fs::remove_file(site.path("away")).unwrap();
}

/// Ends it. Gives its exit code and what it said on standard error.
fn end(mut daemon: Process) -> (i32, Vec<String>) {
    daemon.signal(Signal::TERM);
    let status = daemon.wait();
    let log = daemon.log();
    (status, log.lines().filter(|line| !line.starts_with("time=")).map(str::to_owned).collect())
}

#[test]
fn each_replica_gets_everything() {
    let site = site("20s");
    site.write(1, 50);
    let daemon = site.replicate();
    site.write(2, 200);
    daemon.stop();
    check_both(&site);
}

#[test]
fn a_replica_that_was_never_reached_joins_later() {
    let site = site("20s");
    fs::write(site.path("far"), "").unwrap();
    site.write(1, 50);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    site.write(2, 200);
    fs::remove_file(site.path("far")).unwrap();
    site.write(3, 50);
    eventually("a snapshot on the other", || far_snapshots(&site) == 1);
    site.write(4, 50);
    daemon.stop();
    check_both(&site);
}

#[test]
fn a_replica_that_comes_back_gets_what_it_missed() {
    let site = site("20s");
    site.write(1, 50);
    let daemon = site.replicate();
    eventually("a snapshot on both", || daemon.log().matches("snapshot written").count() == 2);
    for seed in 2..5 {
        cut_off(&site);
        site.write(seed, 100);
        reconnect(&site);
        site.write(seed, 10);
    }
    daemon.stop();
    check_both(&site);
    assert_eq!((far_snapshots(&site), site.listing().snapshots()), (1, 1));
}

#[test]
fn what_a_replica_lacks_at_the_end_is_said_and_sent_later() {
    let site = site("300ms");
    site.write(1, 50);
    let daemon = site.replicate();
    eventually("a snapshot on both", || daemon.log().matches("snapshot written").count() == 2);
    cut_off(&site);
    site.write(2, 50);
    let (status, said) = end(daemon);
    assert_eq!(status, 75, "{said:?}");
    let [line] = &said[..] else { panic!("{said:?}") };
    for text in ["error: not everything is replicated: ", "app.db are not on replica far"] {
        assert!(line.contains(text), "{line}");
    }
    assert!(!line.contains("near"), "{line}");

    // It is still away, and the next start says the same.
    let daemon = site.replicate();
    let (status, said) = end(daemon);
    assert_eq!(status, 75, "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");

    reconnect(&site);
    site.replicate().stop();
    check_both(&site);
    assert_eq!((far_snapshots(&site), site.listing().snapshots()), (1, 1));
}

#[test]
fn a_replica_that_has_nothing_at_the_end_is_named() {
    let site = site("300ms");
    fs::write(site.path("far"), "").unwrap();
    site.write(1, 50);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let (status, said) = end(daemon);
    assert_eq!(status, 75, "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("replica far"), "{said:?}");
    assert!(!said[0].contains("near"), "{said:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = site("60s");
    fs::write(site.path("far"), "").unwrap();
    site.write(1, 50);
    let mut daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    daemon.signal(Signal::TERM);
    daemon.wait_for("signal received");
    let (status, said) = end(daemon);
    assert_eq!(status, 130, "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");
}

/// A network file system that does not answer kept the process from ending: it waited for the thread
/// that hung there.
#[test]
#[cfg(debug_assertions)]
fn a_second_signal_ends_it_while_a_directory_hangs() {
    let site = Site::new();
    site.write(1, 50);
    let mut daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    site.arm("object-writing = slow 60s");
    site.write(2, 50);
    eventually("a segment on its way", || {
        let staging = site.state().join("staging");
        fs::read_dir(staging).is_ok_and(|mut entries| entries.next().is_some())
    });
    daemon.signal(Signal::TERM);
    daemon.wait_for("signal received");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_within(Duration::from_secs(10)), Some(130), "{}", daemon.log());
}

#[test]
fn an_outage_does_not_let_the_log_grow() {
    let site = site("20s");
    site.write(1, 50);
    let daemon = site.replicate();
    eventually("a snapshot on both", || daemon.log().matches("snapshot written").count() == 2);
    cut_off(&site);
    let connection = open(&site.database());
    let mut workload = Workload::new(2);
    eventually("new logs", || {
        workload.step(&connection).unwrap();
        site.listing().only().last_index() > 5
    });
    drop(connection);
    reconnect(&site);
    daemon.stop();
    check_both(&site);
    assert_eq!((far_snapshots(&site), site.listing().snapshots()), (1, 1));
}
