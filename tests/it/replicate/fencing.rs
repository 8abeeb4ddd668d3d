//! Two daemons that write to one replica: both databases can be restored, byte by byte, and the
//! daemon that comes second reports it.

use std::fs;
use std::path::PathBuf;

use litestream::failpoint::Failpoint;
use rustix::process::Signal;

use super::about_to_restart::{AboutToRestart, Copied, often_checkpointed};
use crate::support::{
    PATIENCE, Process, Site, all_is_sent, assert_same, begin, check_all, copy_of, copy_with_log,
    eventually, insert, open, restored, restored_from, settle, share_replica,
};

fn stop_all(daemons: Vec<Process>) -> String {
    daemons.into_iter().map(Process::stop).collect()
}

#[test]
fn of_a_volume_and_its_copy_one_goes_on() {
    for _ in 0..3 {
        let one = Site::new();
        one.write(1, 50);
        one.replicate().stop();
        let other = copy_of(&one);
        let daemons = vec![one.replicate(), other.replicate()];
        for round in 0..5 {
            one.write(10 + round, 2);
            other.write(20 + round, 2);
        }
        let log = stop_all(daemons);
        assert!(log.contains("DIVERGED"), "{log}");
        assert_eq!(one.forks().len(), 1, "{log}");
        check_all(&one, &[&one, &other]);
    }
}

/// Two daemons go on from the same state. The log of one has been reset, so it writes to the next
/// index, while the other one writes after what both have. One must notice the other, or nothing
/// that they write could be restored.
#[test]
fn of_two_that_go_on_one_with_a_new_log_and_one_with_the_old_one_meets_the_other() {
    for one_is_first in [true, false] {
        let one = Site::new();
        one.write(1, 50);
        // Keeps the log from being deleted.
        let connection = open(&one.database());
        let mut daemon = one.replicate();
        daemon.wait_for("snapshot written");
        connection.execute_batch("CREATE TABLE logged (i)").unwrap();
        eventually("a segment", || {
            one.listing().generations.iter().any(|found| !found.segments.is_empty())
        });
        daemon.stop();
        let other = copy_with_log(&one);
        drop(connection);

        let [first, second] = if one_is_first { [&one, &other] } else { [&other, &one] };
        let mut daemons = Vec::new();
        for (number, site) in (1..).zip([first, second]) {
            let connection = open(&site.database());
            let mut daemon = site.replicate();
            daemon.wait_for("initialized db");
            connection.execute("INSERT INTO logged VALUES (?)", [number]).unwrap();
            daemons.push(daemon);
        }
        let log = stop_all(daemons);
        assert!(log.contains("DIVERGED"), "{log}");
        check_all(&one, &[&one, &other]);
    }
}

fn last_segment(owner: &Site) -> PathBuf {
    let generation = owner.replica().join("generations").join(&owner.listing().only().name);
    let segments = fs::read_dir(generation.join("wal")).unwrap();
    segments.map(|entry| entry.unwrap().path()).max().unwrap()
}

/// Stages the last segment of a replica again, as it may be in a copy of the state.
fn stage_last_segment(copy: &Site, owner: &Site) {
    let last = last_segment(owner);
    let staging = sent_by(copy).with_file_name(&owner.listing().only().name);
    fs::create_dir_all(&staging).unwrap();
    fs::copy(&last, staging.join(last.file_name().unwrap())).unwrap();
}

/// Makes a copy still have to send the last segment. `sent` is the note from before it was sent.
pub(super) fn go_back_one_segment(copy: &Site, owner: &Site, sent: &[u8]) {
    stage_last_segment(copy, owner);
    fs::write(sent_by(copy), sent).unwrap();
}

/// The file in which a daemon notes what it has sent.
pub(super) fn sent_by(site: &Site) -> PathBuf {
    site.state().join("staging/file.replica/sent")
}

/// Which of two sends its segment first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    CopyFirst,
    CopySecond,
    /// The copy comes second, and still has to send what both have.
    CopySecondWithRest,
    /// The copy begins first, and the other one ends first.
    Both,
}

/// A daemon whose log is about to be restarted, and another one that begins with a copy of its
/// state from that very moment, use different names. If neither notices the other, nothing after
/// the first of these objects can be restored. This must also hold when the copy first sends a
/// segment that is already stored: having looked with that one, it must look again.
#[test]
fn of_one_that_runs_and_its_copy_the_second_one_goes_elsewhere() {
    let second = [Order::CopySecond, Order::CopySecondWithRest];
    for order in [Order::CopyFirst, Order::Both].into_iter().chain(second) {
        let AboutToRestart { one, connection, daemon, sent } = AboutToRestart::new();
        let Copied { site: other, connection: copy, reader } = Copied::of(&one);
        if order == Order::CopySecondWithRest {
            go_back_one_segment(&other, &one, &sent);
        }
        let mut copied = other.replicate();
        copied.wait_for("replica goes on");
        let meets = match order {
            Order::CopyFirst => {
                insert(&copy, 3);
                all_is_sent(&one, &other);
                daemon.signal(Signal::CONT);
                insert(&connection, 4);
                &daemon
            }
            Order::CopySecond | Order::CopySecondWithRest => {
                if order == Order::CopySecondWithRest {
                    copied.wait_for("wal segment written");
                }
                daemon.signal(Signal::CONT);
                insert(&connection, 4);
                all_is_sent(&one, &one);
                insert(&copy, 3);
                &copied
            }
            Order::Both => {
                other.arm(&format!("{} = slow 5s", Failpoint::ObjectWriting.name()));
                insert(&copy, 3);
                eventually("it looks, and sends", || copied.says("segment cut"));
                daemon.signal(Signal::CONT);
                insert(&connection, 4);
                all_is_sent(&one, &one);
                &copied
            }
        };
        eventually("it has met the other", || meets.says("DIVERGED"));
        other.disarm();
        let takes_back = meets.says("another daemon goes on with it");
        assert!(takes_back || order == Order::CopySecond, "{}", meets.log());
        drop((connection, copy, reader));
        stop_all(vec![daemon, copied]);
        assert_eq!(one.forks().len(), 1);
        check_all(&one, &[&one, &other]);
    }
}

/// The first look for the other daemon fails. At the next attempt, the segment already exists, and
/// a daemon that does not know that it created it itself would not delete it.
#[test]
fn who_comes_second_takes_its_segment_back_though_a_look_failed() {
    let AboutToRestart { one, connection, daemon, sent } = AboutToRestart::new();
    let Copied { site: other, connection: copy, reader } = Copied::of(&one);
    go_back_one_segment(&other, &one, &sent);
    let mut copied = other.replicate();
    // Now it has looked for a successor, and will read nothing but what the test is about.
    copied.wait_for("wal segment written");
    daemon.signal(Signal::CONT);
    insert(&connection, 4);
    all_is_sent(&one, &one);
    let segments = one.listing().only().segments.clone();
    other.arm(&format!("{} = eio @ 1", Failpoint::ObjectReading.name()));
    insert(&copy, 3);
    copied.wait_for("DIVERGED");
    assert!(copied.says("sending a segment failed"), "{}", copied.log());
    assert!(copied.says("another daemon goes on with it"), "{}", copied.log());
    assert_eq!(one.listing().only().segments, segments, "{}", copied.log());
    drop((connection, copy, reader));
    stop_all(vec![daemon, copied]);
    check_all(&one, &[&one, &other]);
}

/// If the note is lost, our own segment must not be taken for another daemon's: it begins where a
/// segment of a daemon would begin that goes on in the old log.
#[test]
fn who_has_forgotten_what_it_sent_meets_nobody() {
    let site = often_checkpointed();
    let [connection, reader] = [(); 2].map(|()| open(&site.database()));
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    let send = |number: u32| {
        connection.execute("INSERT INTO t (number) VALUES (?)", [number]).unwrap();
        all_is_sent(&site, &site);
    };
    send(1);
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    send(2);
    let sent = fs::read(sent_by(&site)).unwrap();
    let segments = site.listing().segments();
    send(3);
    assert_eq!(site.listing().segments(), segments + 1, "one for each");
    let before = daemon.log().matches("complete=true").count();
    drop(reader);
    eventually("the next write restarts the log", || {
        daemon.log().matches("complete=true").count() > before
    });
    send(4);
    daemon.kill();
    stage_last_segment(&site, &site);
    fs::remove_file(last_segment(&site)).unwrap();
    fs::write(sent_by(&site), &sent).unwrap();

    let mut daemon = site.replicate();
    daemon.wait_for("wal segment written");
    send(5);
    drop(connection);
    let log = daemon.stop();
    assert!(!log.contains("another daemon"), "{log}");
    site.check();
}

#[test]
fn of_two_that_begin_at_the_same_time_none_hides_the_other() {
    for round in 0..5 {
        let [one, other] = [Site::new(), Site::new()];
        share_replica(&other, &one, "");
        one.write(round, 20);
        other.write(100 + round, 30);
        let daemons = vec![one.replicate(), other.replicate()];
        one.write(200 + round, 2);
        other.write(300 + round, 2);
        let log = stop_all(daemons);
        assert!(!one.forks().is_empty(), "{log}");
        check_all(&one, &[&one, &other]);
    }
}

/// A daemon that was suspended for long must not go on where it was, in the middle of what another
/// one has written since: nothing after that could be restored.
#[test]
fn who_was_stopped_for_long_does_not_spoil_what_others_wrote() {
    for log_goes_on in [true, false] {
        let one = Site::new();
        one.write(1, 50);
        let connection = open(&one.database());
        let sleeper = begin(&one);
        connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
        all_is_sent(&one, &one);
        sleeper.pause();

        let other = restored_from(&one);
        let mut successor = other.replicate();
        successor.wait_for("the generation goes on");
        other.write(2, 5);
        all_is_sent(&one, &other);

        sleeper.signal(Signal::CONT);
        connection.busy_timeout(PATIENCE).unwrap();
        if !log_goes_on {
            let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
            connection.query_row(checkpoint, [], |_| Ok(())).unwrap();
        }
        connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
        eventually("the sleeper has a fork", || one.forks().len() == 1);
        other.write(3, 5);
        drop(connection);
        let log = stop_all(vec![sleeper]);
        assert!(log.contains("another daemon writes to it"), "{log}");
        assert!(!successor.stop().contains("DIVERGED"));
        settle(&other.database());
        assert_same(&other.database(), &restored(&one, &one.replica()));
        check_all(&one, &[&one, &other]);
    }
}
