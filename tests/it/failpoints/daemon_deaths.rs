use std::fs;

use litestream::failpoint::Failpoint;
use rustix::process::Signal;

use super::{KILLED, application, for_each, is_of_an_accident, look};
use crate::support::{Listing, Site, eventually, open, settle};

const REPLICAS: [&str; 2] = ["one", "two"];

fn site(failpoint: Failpoint) -> Site {
    let site = Site::new();
    let retention = match failpoint {
        Failpoint::ObjectDeleting => "retention: 500ms, retention-check-interval: 100ms",
        _ => "",
    };
    let replicas = REPLICAS.map(|name| {
        let path = site.path(name);
        format!(
            "name: {name}, path: {}, sync-interval: 20ms, snapshot-interval: 300ms, {retention}",
            path.display()
        )
    });
    site.configure(
        "monitor-interval: 20ms, checkpoint-interval: 100ms, min-checkpoint-page-count: 20",
        &replicas.each_ref().map(String::as_str),
    );
    site
}

/// At which pass of a place the process dies if there already is a history.
fn later(failpoint: Failpoint) -> u32 {
    match failpoint {
        Failpoint::PagesBuilt | Failpoint::ObjectReading => 1,
        Failpoint::LogTruncated | Failpoint::SnapshotStored | Failpoint::StateSyncing => 3,
        Failpoint::PagesWriting => 50,
        _ => 6,
    }
}

/// Lets a daemon run until it dies.
fn run_until_death(site: &Site, failpoint: Failpoint, time: u32) {
    site.arm(&format!("{} = kill @ {time}", failpoint.name()));
    let mut daemon = site.replicate();
    if failpoint == Failpoint::StateSyncing {
        daemon.signal(Signal::TERM);
    }
    assert_eq!(daemon.wait(), KILLED, "{failpoint:?} @ {time}\n{}", daemon.log());
    site.disarm();
}

fn run_until_snapshot(site: &Site) {
    let daemon = site.replicate();
    let has_snapshot = |name| Listing::of(&site.path(name)).snapshots() > 0;
    eventually("a snapshot", || REPLICAS.into_iter().all(has_snapshot));
    daemon.kill();
}

#[test]
fn a_daemon_that_dies_at_any_step_loses_nothing() {
    let failpoints = Failpoint::ALL.iter().filter(|failpoint| !is_of_an_accident(**failpoint));
    for_each(failpoints, |&failpoint| {
        let site = site(failpoint);
        let application = application(&site);
        let mut seen = [0; REPLICAS.len()];
        let mut look_at_all = || {
            for (replica, seen) in REPLICAS.iter().zip(&mut seen) {
                look(&site, replica, seen);
            }
        };
        // A daemon reads something only if the replica is not empty.
        if failpoint == Failpoint::ObjectReading {
            run_until_snapshot(&site);
        }
        run_until_death(&site, failpoint, 1);
        look_at_all();
        if failpoint == Failpoint::PagesBuilt {
            run_until_snapshot(&site);
            fs::remove_file(site.state().join("cursor")).unwrap();
        }
        run_until_death(&site, failpoint, later(failpoint));
        look_at_all();
        let daemon = site.replicate();
        application.finish();
        daemon.stop();
        look_at_all();
        settle(&site.database());
        for replica in REPLICAS {
            site.check_restore(&["-replica", replica], &site.database());
        }
    });
}

/// If a process dies in the middle of a cut, a page table that is damaged as well must not be
/// taken for one that is only ahead: every later seal would have a wrong digest, and nothing could
/// be restored.
#[test]
fn a_table_that_was_damaged_when_a_cut_was_interrupted_is_made_anew() {
    let site = Site::new();
    site.write(1, 50);
    let connection = open(&site.database());
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    daemon.kill();
    site.arm("segment-cut = kill @ 1");
    let mut daemon = site.replicate();
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    assert_eq!(daemon.wait(), KILLED, "{}", daemon.log());
    site.disarm();
    let path = site.state().join("pages");
    let mut pages = fs::read(&path).unwrap();
    let last = pages.len() - 1;
    pages[last] ^= 1;
    fs::write(&path, pages).unwrap();
    let daemon = site.replicate();
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    drop(connection);
    daemon.stop();
    site.check();
}
