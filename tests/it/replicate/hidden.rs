//! Generations that are not the latest by the clock of the store, as after a copy that did not keep
//! the times: a restore takes another one.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{Site, open, settle};

const REPLICA: &str = "sync-interval: 20ms, retention-check-interval: 1h";

/// A site with two generations, of which the first one has the later times. Returns the name of the
/// other one.
fn site() -> (Site, String) {
    let site = Site::with("monitor-interval: 20ms", REPLICA);
    site.write(1, 20);
    site.replicate().stop();
    let first = site.listing().only().name.clone();
    site.write(2, 20);
    settle(&site.database());
    fs::remove_file(site.state().join("cursor")).unwrap();
    site.replicate().stop();
    let second = site.listing().generations.into_iter().find(|of| of.name != first);
    let second = second.expect("another generation").name;
    let now = SystemTime::now();
    let times = [(&first, now), (&second, now - Duration::from_mins(1))];
    for (name, time) in times {
        touch(&site.replica().join("generations").join(name), time);
    }
    (site, second)
}

fn touch(path: &Path, time: SystemTime) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            touch(&entry.unwrap().path(), time);
        }
    } else {
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

#[test]
fn are_named_by_restore_and_by_verify() {
    let (site, hidden) = site();
    let (mut restore, _) = site.start_restore(&[]);
    assert_eq!(restore.wait(), 0, "{}", restore.log());
    for text in ["there is one with later commits", &hidden, "had acknowledged last"] {
        assert!(restore.says(text), "{text}: {}", restore.log());
    }
    site.check_restore(&["-generation", &hidden], &site.database());
    let mut verify = site.start(&mut site.command(&["verify"]));
    assert_eq!(verify.wait(), 1, "{}", verify.log());
    assert!(verify.says("it is what was replicated last"), "{}", verify.log());
}

#[test]
fn are_the_latest_again_once_the_daemon_has_noticed() {
    for (interval, says) in [
        ("validation-interval: 100ms", "it is what was replicated last"),
        ("retention-check-interval: 100ms", "a restore would take an earlier generation"),
    ] {
        let (site, _) = site();
        site.configure(
            "monitor-interval: 20ms",
            &[&format!("path: {}, sync-interval: 20ms, {interval}", site.replica().display())],
        );
        let mut daemon = site.replicate();
        daemon.wait_for(says);
        daemon.wait_for("snapshot written");
        if interval.starts_with("validation") {
            daemon.wait_for("status=ok");
        }
        daemon.stop();
        site.check();
        site.start(&mut site.command(&["verify"])).finish();
    }
}

/// What the state directory knows of the newest objects, no other object shows.
#[test]
fn a_restore_beside_the_state_directory_misses_what_was_acknowledged() {
    let site = Site::with("monitor-interval: 20ms", REPLICA);
    site.write(1, 20);
    site.replicate().stop();
    let connection = open(&site.database());
    connection.execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
    drop(connection);
    site.replicate().stop();
    let log = site.replica().join("generations").join(&site.listing().only().name).join("wal");
    let newest = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let missed = "had acknowledged last";
    let (mut restore, _) = site.start_restore(&[]);
    assert_eq!(restore.wait(), 0, "{}", restore.log());
    assert!(!restore.says(missed), "{}", restore.log());
    fs::remove_file(newest).unwrap();
    let (mut restore, _) = site.start_restore(&[]);
    assert_eq!(restore.wait(), 0, "{}", restore.log());
    assert!(restore.says(missed), "{}", restore.log());
}
