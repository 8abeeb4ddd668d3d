//! Replicas whose name or location in the configuration has changed.

use std::fs;
use std::process::Command;

use litestream::failpoint::Failpoint;

use crate::support::{Site, eventually, open, settle};

fn configure(site: &Site, name: &str, place: &str) {
    let path = site.path(place);
    let replica = format!("name: {name}, path: {}, sync-interval: 50ms", path.display());
    site.configure("monitor-interval: 50ms", &[&replica]);
}

/// What was sent last is noted under the old name, or not noted yet. What the replica holds must
/// not be taken for the history of another database.
#[test]
fn a_replica_that_is_renamed_is_the_same() {
    let site = Site::new();
    configure(&site, "before", "replica");
    let mut daemon = site.begin();
    site.arm(&format!("{} = kill @ 1", Failpoint::SegmentSent.name()));
    open(&site.database()).execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
    assert_eq!(daemon.wait(), 128 + 9, "{}", daemon.log());
    site.disarm();
    // Nothing is left of the log, by which it could be known as well.
    site.write(2, 3);
    configure(&site, "after", "replica");
    let log = site.replicate().stop();
    assert!(log.contains("the replica was renamed") && !log.contains("DIVERGED"), "{log}");
    site.check();
    let names = fs::read_dir(site.state().join("staging")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["after.replica"]);
}

/// Neither may get the notes and the staged segments of the other one.
#[test]
fn replicas_may_exchange_their_names() {
    let site = Site::new();
    let configure = |names: [&str; 2]| {
        let replicas = [(names[0], "replica"), (names[1], "other")].map(|(name, place)| {
            format!("name: {name}, path: {}, sync-interval: 50ms", site.path(place).display())
        });
        site.configure("monitor-interval: 50ms", &replicas.each_ref().map(String::as_str));
    };
    configure(["one", "two"]);
    site.write(1, 20);
    let daemon = site.replicate();
    eventually("both", || daemon.log().matches("snapshot written").count() == 2);
    site.arm(&format!("{} = kill @ 1", Failpoint::SegmentSent.name()));
    open(&site.database()).execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
    let mut daemon = daemon;
    assert_eq!(daemon.wait(), 128 + 9, "{}", daemon.log());
    site.disarm();
    site.write(2, 3);
    configure(["two", "one"]);
    let log = site.replicate().stop();
    assert!(log.contains("the replica was renamed") && !log.contains("DIVERGED"), "{log}");
    site.check();
    site.check_restore(&["-replica", "one"], &site.database());
}

/// In the new place, `restore` would find no backup, if all of it were in a fork of nothing.
#[test]
fn a_fork_is_not_taken_along_to_another_place() {
    let site = Site::new();
    configure(&site, "file", "replica");
    site.write(1, 20);
    site.replicate().stop();
    // A volume is lost, and the application starts over.
    fs::remove_file(site.database()).unwrap();
    fs::remove_dir_all(site.state()).unwrap();
    site.write(2, 3);
    let mut daemon = site.replicate();
    daemon.wait_for("DIVERGED: replicating to a fork");
    daemon.wait_for("snapshot written");
    daemon.stop();
    assert_eq!(site.forks().len(), 1);
    configure(&site, "file", "moved");
    let daemon = site.replicate();
    eventually("it is there", || daemon.says("snapshot written"));
    let log = daemon.stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}

/// Replaces the database and its state by copies of the same names, as when a directory is moved
/// to another disk.
fn move_to_another_disk(site: &Site) {
    for path in [site.database(), site.state()] {
        let [copy, before] = [site.fresh("copy"), site.fresh("before")];
        let copied = Command::new("cp").arg("-a").args([&path, &copy]).status().unwrap();
        assert!(copied.success());
        fs::rename(&path, &before).unwrap();
        fs::rename(&copy, &path).unwrap();
    }
}

/// If the application starts first, nothing is left of the log. The database must still not go to
/// a fork.
#[test]
fn a_database_that_is_moved_with_its_state_is_the_same() {
    let site = Site::new();
    site.begin().stop();
    for round in 2..5 {
        if round == 4 {
            fs::remove_file(site.database()).unwrap();
            site.start(&mut site.command(&["restore", site.database().to_str().unwrap()])).finish();
            site.replicate().stop();
        }
        settle(&site.database());
        move_to_another_disk(&site);
        site.write(round, 3);
        let log = site.replicate().stop();
        assert!(!log.contains("DIVERGED") && !log.contains("was restored"), "{round} {log}");
        site.check();
    }
}

#[test]
fn without_its_state_it_may_be_another_one() {
    let site = Site::new();
    site.begin().stop();
    settle(&site.database());
    let copy = site.fresh("copy");
    fs::copy(site.database(), &copy).unwrap();
    fs::rename(&copy, site.database()).unwrap();
    site.write(2, 3);
    assert!(site.replicate().stop().contains("DIVERGED"));
}
