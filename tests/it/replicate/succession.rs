//! Daemons whose replica was taken over go elsewhere, and hide nothing.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{
    Process, Site, all_is_sent, assert_same, begin, check_all, eventually, insert, open, restored,
    restored_from, settle, share_replica,
};

/// A daemon, and a second one that has just begun a generation in its replica.
struct Succession {
    one: Site,
    /// The connection of the application that the former daemon replicates.
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
    // After this the database is not what was restored, and must begin a generation.
    other.write(2, 5);
    settle(&other.database());
    let successor = other.replicate();
    eventually("a generation", || one.listing().snapshots() == 2);
    Succession { one, connection, former, other, successor }
}

/// Two histories of the same replica must not go on side by side, so that restores alternate
/// between the two.
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

/// A daemon that is stopped must not send what no restore will find, because a new generation has
/// begun since its last look.
#[test]
fn who_was_succeeded_goes_elsewhere_before_it_ends() {
    let Succession { one, connection, former, other, successor } = succession();

    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    drop(connection);
    let log = former.stop();
    assert!(log.contains("another daemon has taken it over"), "{log}");
    // The successor's history is restored by default.
    other.write(3, 5);
    assert!(!successor.stop().contains("DIVERGED"));
    assert_eq!(one.forks().len(), 1);
    check_all(&one, &[&one, &other]);
}

/// A daemon may be about to store its next snapshot when it notices that another one has taken
/// over the replica. It must not go on there, with a generation that hides the other one's: it
/// asked for that snapshot before it looked at what the replica holds.
#[test]
fn who_waits_for_a_snapshot_when_it_was_succeeded_goes_elsewhere() {
    let one = Site::new();
    share_replica(&one, &one, "snapshot-interval: 50ms");
    one.write(1, 50);
    let connection = open(&one.database());
    let former = begin(&one);
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    all_is_sent(&one, &one);
    // The log does not end any more, so the next snapshot must wait.
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

/// A daemon that has been succeeded, and has nothing to send, must not delete the successor's
/// history by its own retention.
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
    // After this the database is not what was restored, and must begin a generation.
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

/// Whether anything of the generation is left in a replica.
fn holds(owner: &Site, generation: &str) -> bool {
    let listing = owner.listing();
    let found = listing.generations.iter().find(|found| found.name == generation);
    found.is_some_and(|found| !found.snapshots.is_empty() || !found.segments.is_empty())
}

/// A daemon is suspended until another one has taken over its replica and let its generation
/// expire. It must not take the new generation for one that was there before, go on in the old
/// one, without a snapshot, and end with 0: what it sends would be in no restore.
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
    // After this the database is not what was restored, and must begin a generation.
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
    // It may have sent something into the expired generation before it looked.
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

/// If a rule of the bucket deletes the snapshot, the daemon must not just go on after it, and
/// report at its end that everything is replicated: nothing could be restored.
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
