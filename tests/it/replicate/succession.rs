//! A daemon whose replica was taken over goes elsewhere, and hides nothing.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{
    Process, Site, all_is_sent, assert_same, begin, check_all, eventually, insert, open, restored,
    restored_from, settle, share_replica,
};

/// A daemon, and another one that has just begun a generation in its replica.
struct Succession {
    one: Site,
    /// Of the application that the former daemon replicates.
    connection: Connection,
    former: Process,
    other: Site,
    successor: Process,
}

fn succession() -> Succession {
    let one = Site::new();
    one.write(1, 50);
    let connection = open(&one.database());
    let former = begin(&one);
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    all_is_sent(&one, &one);

    let other = restored_from(&one);
    // After that it is not what was restored, and has to begin a generation.
    other.write(2, 5);
    settle(&other.database());
    let successor = other.replicate();
    eventually("a generation", || one.listing().snapshots() == 2);
    Succession { one, connection, former, other, successor }
}

/// Two histories of the same replica went on side by side, and a restore gave now the one and now
/// the other.
#[test]
fn who_was_succeeded_goes_elsewhere() {
    let Succession { one, connection, mut former, other, successor } = succession();

    eventually("the former one has a fork", || {
        connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
        one.forks().len() == 1
    });
    former.wait_for("another daemon has taken it over");
    other.write(3, 5);
    drop(connection);
    former.stop();
    assert!(!successor.stop().contains("DIVERGED"));
    settle(&other.database());
    assert_same(&other.database(), &restored(&one, &one.replica()));
    check_all(&one, &[&one, &other]);
}

/// A daemon that was told to end had sent what nobody would find: a new generation had begun since it
/// had looked for that last.
#[test]
fn who_was_succeeded_goes_elsewhere_before_it_ends() {
    let Succession { one, connection, former, other, successor } = succession();

    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    drop(connection);
    let log = former.stop();
    assert!(log.contains("another daemon has taken it over"), "{log}");
    // What was written last is restored by default.
    other.write(3, 5);
    assert!(!successor.stop().contains("DIVERGED"));
    assert_eq!(one.forks().len(), 1);
    check_all(&one, &[&one, &other]);
}

/// A daemon that was about to store its next snapshot when it noticed that another one had taken the
/// replica over went on there, with a generation that hid the other one's: it had asked for that
/// snapshot before it looked, and so nobody knew what the replica held.
#[test]
fn who_waits_for_a_snapshot_when_it_was_succeeded_goes_elsewhere() {
    let one = Site::new();
    share_replica(&one, &one, "snapshot-interval: 50ms");
    one.write(1, 50);
    let connection = open(&one.database());
    let former = begin(&one);
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    all_is_sent(&one, &one);
    // The log does not end any more, and the next snapshot has to wait for that.
    let reader = open(&one.database());
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    all_is_sent(&one, &one);

    let other = restored_from(&one);
    other.write(2, 5);
    settle(&other.database());
    let mut successor = other.replicate();
    successor.wait_for("snapshot written");

    eventually("the former one has a fork", || {
        connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
        one.forks().len() == 1
    });
    other.write(3, 5);
    drop((reader, connection));
    former.stop();
    assert!(!successor.stop().contains("DIVERGED"));
    settle(&other.database());
    assert_same(&other.database(), &restored(&one, &one.replica()));
    check_all(&one, &[&one, &other]);
}

/// A daemon that had been succeeded, and had nothing to send, went on to delete what it would not
/// have kept for so long: the successor's history.
#[test]
fn who_was_succeeded_deletes_nothing_of_the_successor() {
    let settings = "sync-interval: 50ms, retention: 1s, retention-check-interval: 100ms";
    let one = Site::with("monitor-interval: 50ms", settings);
    one.write(1, 50);
    let former = begin(&one);
    all_is_sent(&one, &one);

    let ours = one.listing().only().name.clone();
    let other = restored_from(&one);
    share_replica(&other, &one, "snapshot-interval: 100ms");
    // After that it is not what was restored, and has to begin a generation.
    other.write(2, 5);
    settle(&other.database());
    let successor = other.replicate();
    let copy = open(&other.database());
    let mut seen = Vec::new();
    eventually("the former one goes elsewhere", || {
        insert(&copy, 3);
        let found = one.listing().generations;
        let found = found.into_iter().find(|found| found.name != ours);
        let found = found.map(|found| [found.snapshots, found.segments].concat());
        let found = found.unwrap_or_default();
        let lost = seen.iter().find(|name| !found.contains(name));
        assert_eq!(lost, None, "{}", former.log());
        seen = found;
        former.says("another daemon has taken it over")
    });
    drop(copy);
    assert!(former.stop().contains("DIVERGED"));
    successor.stop();
    check_all(&one, &[&one, &other]);
}

/// Whether anything of that name is left in a replica.
fn holds(owner: &Site, generation: &str) -> bool {
    let listing = owner.listing();
    let found = listing.generations.iter().find(|found| found.name == generation);
    found.is_some_and(|found| !found.snapshots.is_empty() || !found.segments.is_empty())
}

/// A daemon that was stopped until another one had taken its replica over and let its generation
/// expire took the new one for one that had been there before, went on in the old one, without a
/// snapshot, and ended with 0: what it sent is in no restore.
#[test]
fn who_wakes_up_when_its_history_has_expired_goes_elsewhere() {
    let one = Site::new();
    one.write(1, 50);
    let connection = open(&one.database());
    let former = begin(&one);
    insert(&connection, 1);
    all_is_sent(&one, &one);
    let expired = one.listing().only().name.clone();
    former.pause();

    let other = restored_from(&one);
    let settings = "retention: 1s, retention-check-interval: 100ms, snapshot-interval: 300ms";
    share_replica(&other, &one, settings);
    // After that it is not what was restored, and has to begin a generation.
    other.write(2, 5);
    settle(&other.database());
    let successor = other.replicate();
    let copy = open(&other.database());
    eventually("the old generation has expired", || {
        insert(&copy, 2);
        !holds(&one, &expired)
    });

    former.signal(Signal::CONT);
    eventually("the former one has a fork", || {
        insert(&connection, 3);
        one.forks().len() == 1
    });
    drop(connection);
    let log = former.stop();
    assert!(log.contains(" is gone, without which") && log.contains("DIVERGED"), "{log}");
    // It may have sent something into what was gone, until it looked.
    eventually("all of the old generation has expired", || {
        insert(&copy, 4);
        !holds(&one, &expired)
    });
    drop(copy);
    assert!(!successor.stop().contains("DIVERGED"));
    settle(&other.database());
    assert_same(&other.database(), &restored(&one, &one.replica()));
    check_all(&one, &[&one, &other]);
}

/// A rule of the bucket had deleted the snapshot. The daemon went on behind it, and said at its end
/// that everything was replicated: nothing could be restored.
#[test]
fn a_snapshot_that_was_deleted_is_made_up_for() {
    for at_its_end in [true, false] {
        let one = Site::new();
        one.write(1, 50);
        let connection = open(&one.database());
        let daemon = begin(&one);
        insert(&connection, 1);
        all_is_sent(&one, &one);
        let generation = one.listing().only().name.clone();
        remove_snapshots(&one.replica().join("generations").join(generation));
        insert(&connection, 2);
        if !at_its_end {
            eventually("another snapshot", || {
                insert(&connection, 3);
                one.listing().snapshots() > 0
            });
        }
        drop(connection);
        let log = daemon.stop();
        assert!(log.contains(" is gone, without which"), "{log}");
        assert!(!log.contains("DIVERGED"), "{log}");
        one.check();
    }
}

fn remove_snapshots(generation: &Path) {
    for entry in fs::read_dir(generation.join("snapshots")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}
