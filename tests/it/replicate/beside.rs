//! Reads of a replica, and starts on it, while it has a stray: a segment that a daemon stored and
//! did not live to delete again, beside the one that another daemon continued.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use rustix::process::Signal;

use super::about_to_restart::{
    AboutToRestart, Copied, often_checkpointed, often_checkpointed_with,
};
use super::stray::{check_index, check_stray, dies_after_storing, segments};
use crate::support::{
    Process, Site, all_is_sent, assert_same, eventually, insert, rows, settle, share_replica,
    timestamp,
};

/// A suspended daemon, whose log is restarted by the next write, and another daemon, whose log
/// continues from the same state.
struct Rivals {
    one: Site,
    connection: Connection,
    daemon: Process,
    other: Site,
    /// Keeps the other one's log from being restarted.
    reader: Connection,
    copy: Connection,
    copied: Process,
}

impl Rivals {
    /// `one` must be checkpointed often. `settings` are for the replica of the other site.
    fn new(one: Site, settings: &str) -> Self {
        let AboutToRestart { one, connection, daemon, .. } = AboutToRestart::of(one);
        let Copied { site: other, connection: copy, reader } = Copied::of(&one);
        share_replica(&other, &one, settings);
        other.configure_also("logging: {level: debug}");
        let mut copied = other.replicate();
        copied.wait_for("replica goes on");
        Self { one, connection, daemon, other, reader, copy, copied }
    }

    /// The other daemon has continued in its log, and the first one has died after it stored a
    /// segment of the next log.
    fn with_stray_of_next_log() -> Self {
        let mut rivals = Self::new(often_checkpointed(), "");
        rivals.other_goes_on();
        rivals.one_leaves_stray();
        rivals
    }

    /// As above, but first the other daemon has ended its log with a snapshot.
    fn with_stray_behind_snapshot() -> Self {
        let mut rivals = Self::new(often_checkpointed(), "snapshot-interval: 50ms");
        rivals.other_goes_on();
        rivals.reader.execute_batch("COMMIT").unwrap();
        eventually("a snapshot of the next log", || rivals.one.listing().snapshots() == 2);
        rivals.one_leaves_stray();
        rivals
    }

    fn other_goes_on(&self) {
        for number in 0..2 {
            insert(&self.copy, number);
            all_is_sent(&self.one, &self.other);
        }
    }

    fn one_leaves_stray(&mut self) {
        self.one.arm(&dies_after_storing());
        self.daemon.signal(Signal::CONT);
        insert(&self.connection, 3);
        assert_ne!(self.daemon.wait(), 0);
        self.one.disarm();
    }

    fn one_goes_on(&self) {
        self.daemon.signal(Signal::CONT);
        insert(&self.connection, 3);
        all_is_sent(&self.one, &self.one);
    }

    fn other_leaves_stray(&mut self) {
        self.other.arm(&dies_after_storing());
        insert(&self.copy, 3);
        assert_ne!(self.copied.wait(), 0);
    }

    /// Ends the other daemon, and returns the two sites.
    fn end_other(self) -> (Site, Site) {
        drop((self.connection, self.reader, self.copy));
        self.copied.stop();
        settle(&self.other.database());
        (self.one, self.other)
    }

    /// Ends the first daemon, and returns its site.
    fn end_one(self) -> Site {
        drop(self.connection);
        self.daemon.stop();
        self.one
    }
}

/// The database of the dead daemon is just what its stray leads to, and no state beside it shows
/// otherwise. The daemon must not go on from there, or the acknowledged segments of the other one
/// would be left out.
#[test]
fn nobody_goes_on_from_a_stray() {
    let (one, other) = Rivals::with_stray_of_next_log().end_other();
    check_who_starts_on_stray(&one, &other);
}

/// This holds after a snapshot of the stray's log, too: otherwise nothing could be restored from
/// it any more.
#[test]
fn nobody_goes_on_from_a_stray_behind_a_snapshot() {
    let (one, other) = Rivals::with_stray_behind_snapshot().end_other();
    check_who_starts_on_stray(&one, &other);
}

fn check_who_starts_on_stray(one: &Site, other: &Site) {
    settle(&one.database());
    fs::remove_dir_all(one.state()).unwrap();
    let daemon = one.replicate();
    eventually("it has begun", || {
        ["the generation goes on", "snapshot written"].iter().any(|text| daemon.says(text))
    });
    one.write(5, 3);
    let log = daemon.stop();
    assert!(!log.contains("the generation goes on") && log.contains("DIVERGED"), "{log}");
    check_stray(one, other);
    one.check_fork();
}

#[test]
fn a_validator_leaves_a_stray_of_the_next_log_out() {
    let mut rivals = Rivals::new(often_checkpointed(), "validation-interval: 200ms");
    rivals.other_goes_on();
    rivals.copied.wait_for("identical to the source");
    rivals.one_leaves_stray();
    (0..3).for_each(|_| await_proof(&rivals.copied));
    let (one, other) = rivals.end_other();
    check_stray(&one, &other);
}

#[test]
fn a_validator_leaves_a_stray_of_the_same_log_out() {
    let one = often_checkpointed_with("validation-interval: 200ms");
    let mut rivals = Rivals::new(one, "");
    rivals.one_goes_on();
    rivals.daemon.wait_for("identical to the source");
    await_proof(&rivals.daemon);
    rivals.other_leaves_stray();
    for number in 4..7 {
        insert(&rivals.connection, number);
        all_is_sent(&rivals.one, &rivals.one);
        (0..2).for_each(|_| await_proof(&rivals.daemon));
    }
    let one = rivals.end_one();
    check_stray(&one, &one);
}

/// Waits for another validation, and expects that none has found anything.
fn await_proof(daemon: &Process) {
    let proofs = || daemon.log().matches("status=ok").count();
    let seen = proofs();
    eventually("it is proven", || {
        assert!(!daemon.says("cannot be restored"), "{}", daemon.log());
        proofs() > seen
    });
}

/// A moment that file times can tell from what comes before and after it.
fn moment() -> SystemTime {
    let pause = || thread::sleep(Duration::from_millis(20));
    pause();
    let now = SystemTime::now();
    pause();
    now
}

fn rows_at(one: &Site, moment: SystemTime) -> i64 {
    rows(&one.restore(&["-timestamp", &timestamp(moment)]))
}

#[test]
fn a_moment_behind_a_stray_of_the_next_log_is_restored() {
    let rivals = Rivals::with_stray_of_next_log();
    let (expected, moment) = (rows(&rivals.other.database()), moment());
    insert(&rivals.copy, 4);
    all_is_sent(&rivals.one, &rivals.other);
    let (one, _) = rivals.end_other();
    assert_eq!(rows_at(&one, moment), expected);
}

/// The segment that shows which of the two counts was stored after the moment.
#[test]
fn a_moment_behind_a_stray_of_the_same_log_is_restored() {
    let mut rivals = Rivals::new(often_checkpointed(), "");
    rivals.one_goes_on();
    rivals.other_leaves_stray();
    let (expected, moment) = (rows(&rivals.one.database()), moment());
    insert(&rivals.connection, 4);
    all_is_sent(&rivals.one, &rivals.one);
    let one = rivals.end_one();
    assert_eq!(rows_at(&one, moment), expected);
}

/// A stray is named as in a later log, but a replica that ends with it is older than another one.
#[test]
fn a_replica_does_not_come_first_by_its_stray() {
    let rivals = Rivals::with_stray_of_next_log();
    insert(&rivals.copy, 4);
    all_is_sent(&rivals.one, &rivals.other);
    let (one, other) = rivals.end_other();
    let copy = one.path("copy");
    let mut command = Command::new("cp");
    assert!(command.arg("-a").args([&one.replica(), &copy]).status().unwrap().success());
    let mut names = segments(&one);
    names.sort();
    let [.., last, stray] = &names[..] else { panic!("{names:?}") };
    fs::remove_file(last).unwrap();
    fs::remove_file(copy.join(stray.strip_prefix(one.replica()).unwrap())).unwrap();

    let replica = |name: &str, path| format!("name: {name}, path: {}", one.path(path).display());
    let replicas = [replica("near", "replica"), replica("far", "copy")];
    one.configure("monitor-interval: 1s", &replicas.each_ref().map(String::as_str));
    assert_same(&other.database(), &one.restore(&[]));
}

#[test]
fn a_stray_beside_a_snapshot_of_its_log_is_left_out() {
    let (one, other) = Rivals::with_stray_behind_snapshot().end_other();
    check_stray(&one, &other);
    check_index(&one, rows(&other.database()));
}
