//! Daemons that die before they have deleted what they stored beside another one's segment.

use std::path::PathBuf;

use litestream::failpoint::Failpoint;
use rustix::process::Signal;

use super::about_to_restart::{AboutToRestart, Copied};
use super::fencing::{go_back_one_segment, sent_by};
use crate::support::{
    Site, all_is_sent, assert_same, eventually, insert, litestream, restored, rows, settle,
};

/// A script that makes a daemon store a segment, and die before it looks for another daemon.
pub(super) fn dies_after_storing() -> String {
    format!("{} = kill", Failpoint::ObjectRenamed.name())
}

/// Expects that the replica leads to the database of `winner`, whose segment is the one that was
/// continued, and that all readers name the other one.
pub(super) fn check_stray(one: &Site, winner: &Site) {
    settle(&winner.database());
    assert_same(&winner.database(), &restored(one, &one.replica()));
    let url = format!("file://{}", one.replica().display());
    for arguments in [&["verify", &url][..], &["verify", "-full", &url]] {
        let mut verify = one.start(litestream(one.home()).args(arguments));
        assert_eq!(verify.wait(), 1);
        assert!(verify.says("1 defect found"), "{}", verify.log());
        assert!(verify.says("a restore leaves it out"), "{}", verify.log());
    }
    let output = one.fresh("restored");
    let arguments = ["restore", "-o", output.to_str().unwrap(), &url];
    let log = one.start(litestream(one.home()).args(arguments)).finish();
    assert!(log.contains("left out: another daemon stored it"), "{log}");
}

/// Expects that a restore that ends with the log of the stray leaves it out too, and gives
/// `expected` rows, although nothing that is read up to there shows that it is a stray.
pub(super) fn check_index(one: &Site, expected: i64) {
    let [output, database] = [one.fresh("restored"), one.database()];
    let [to, from] = [&output, &database].map(|path| path.to_str().unwrap());
    let mut verify = one.start(&mut one.command(&["verify", from]));
    assert_eq!(verify.wait(), 1);
    let log = verify.log();
    let (_, stray) = log.split_once("/wal/").unwrap();
    let arguments = ["restore", "-o", to, "-index", &stray[..8], from];
    let log = one.start(&mut one.command(&arguments)).finish();
    assert!(log.contains("left out: another daemon stored it"), "{log}");
    assert_eq!(rows(&output), expected);
}

pub(super) fn segments(one: &Site) -> Vec<PathBuf> {
    let generation = one.replica().join("generations").join(&one.listing().only().name);
    let segments = std::fs::read_dir(generation.join("wal")).unwrap();
    segments.map(|entry| entry.unwrap().path()).collect()
}

/// Which of the two segments was stored first, and counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Winner {
    NextLog,
    /// Whether its daemon went on after it before the other one came, or only after that.
    SameLog {
        gone_on: bool,
    },
}

/// Otherwise nothing after the two could be restored until there is another snapshot.
#[test]
fn what_a_dead_daemon_did_not_take_back_is_left_out() {
    let same_log = [true, false].map(|gone_on| Winner::SameLog { gone_on });
    for winner in [Winner::NextLog].into_iter().chain(same_log) {
        let AboutToRestart { one, connection, mut daemon, sent } = AboutToRestart::new();
        let Copied { site: other, connection: copy, reader } = Copied::of(&one);
        // The copy looks for others before it sends what both have, and not again soon after.
        go_back_one_segment(&other, &one, &sent);
        let mut copied = other.replicate();
        copied.wait_for("wal segment written");
        let (stored, before) = (segments(&one).len(), rows(&one.database()));
        if winner == Winner::NextLog {
            daemon.signal(Signal::CONT);
            insert(&connection, 3);
            all_is_sent(&one, &one);
            other.arm(&dies_after_storing());
            insert(&copy, 3);
            eventually("it has died", || segments(&one).len() == stored + 2);
            assert_ne!(copied.wait(), 0);
            for command in
                [&["restore", "-o", one.fresh("restored").to_str().unwrap()][..], &["verify"]]
            {
                let url = format!("file://{}", one.replica().display());
                let mut command = one.start(litestream(one.home()).args(command).arg(url));
                assert_eq!(command.wait(), 1);
                assert!(command.says("which of the two counts"), "{}", command.log());
            }
            insert(&connection, 4);
            all_is_sent(&one, &one);
            drop(connection);
            daemon.stop();
            check_stray(&one, &one);
            check_index(&one, before);
        } else {
            let gone_on = winner == Winner::SameLog { gone_on: true };
            for number in 0..=u32::from(gone_on) {
                insert(&copy, number);
                all_is_sent(&one, &other);
            }
            one.arm(&dies_after_storing());
            daemon.signal(Signal::CONT);
            insert(&connection, 3);
            assert_ne!(daemon.wait(), 0);
            if !gone_on {
                insert(&copy, 4);
                copied.wait_for("DIVERGED");
            }
            assert_eq!(segments(&one).len(), stored + 3, "{:?} {}", segments(&one), daemon.log());
            drop((reader, copy));
            copied.stop();
            check_stray(&one, &other);
        }
    }
}

/// Without the note of what it sent last, a daemon does not know the name that the other one uses.
#[test]
fn who_has_lost_its_note_finds_the_other_one_all_the_same() {
    let AboutToRestart { one, connection, mut daemon, .. } = AboutToRestart::new();
    let Copied { site: other, connection: copy, reader } = Copied::of(&one);
    let copied = other.replicate();
    for number in 0..2 {
        insert(&copy, number);
        all_is_sent(&one, &other);
    }
    std::fs::remove_file(sent_by(&one)).unwrap();
    daemon.signal(Signal::CONT);
    insert(&connection, 3);
    daemon.wait_for("DIVERGED");
    assert!(daemon.says("another daemon goes on with it"), "{}", daemon.log());
    drop((connection, reader, copy));
    daemon.stop();
    copied.stop();
    settle(&other.database());
    assert_same(&other.database(), &restored(&one, &one.replica()));
}
