//! Restores and `verify` from a store that misbehaves.

use std::time::Duration;

use super::{Remote, with_each};
use crate::rogue::{Fault, Habits, Kind, Line, Refusal, Rule};

#[test]
fn a_restore_goes_on_after_failures_that_pass() {
    let remote = Remote::new();
    remote.fill();
    let faults = [
        Fault::Refuse(Refusal::SLOW_DOWN),
        Fault::Refuse(Refusal::INTERNAL),
        Fault::Deny(Refusal::TOO_MANY),
        Fault::LoseAnswer,
        Fault::BreakOff(0),
        Fault::BreakOff(20),
        Fault::Delay(Duration::from_millis(200)),
    ];
    for fault in faults {
        for kind in [Kind::List, Kind::Get] {
            remote.store.misbehave(Rule::from(fault).on(&[kind]).times(2));
        }
    }
    remote.check();
    assert_eq!(remote.store.struck(), 28);
}

#[test]
fn a_restore_that_is_forbidden_says_so_and_leaves_no_file() {
    let remote = Remote::new();
    remote.fill();
    for kind in [Kind::List, Kind::Get] {
        remote.store.misbehave(Rule::from(Fault::Refuse(Refusal::DENIED)).on(&[kind]));
        let line = remote.fail_restore();
        assert!(line.contains("AccessDenied"), "{line}");
        remote.store.behave();
    }
    remote.check();
}

/// Listing it a second time, to see whether something has changed, would double the wait for a
/// store that is gone.
#[test]
fn a_replica_that_cannot_be_listed_is_not_listed_again() {
    let remote = Remote::new();
    remote.fill();
    remote.store.misbehave(Fault::Refuse(Refusal::DENIED));
    let before = remote.store.count(Kind::List);
    remote.fail_restore();
    // One for the generations, and one for the forks.
    assert_eq!(remote.store.count(Kind::List), before + 2);
}

#[test]
fn a_restore_from_a_store_that_is_gone_gives_up_and_leaves_no_file() {
    let remote = Remote::new();
    remote.fill();
    remote.store.set_line(Line::Refuses);
    let line = remote.fail_restore();
    assert!(line.contains("gave up") && line.contains("refused"), "{line}");
    remote.store.behave();
    remote.check();
}

/// The store may return less than it lists, or have lost the end of an object.
#[test]
fn an_object_that_comes_back_truncated_is_named() {
    let remote = Remote::new();
    remote.fill();
    remote.store.set_habits(Habits { readable: Some(100), ..Habits::default() });
    assert!(remote.fail_restore().contains(".lz4"));
    let mut verify = remote.verify(&[]);
    assert_eq!(verify.wait(), 1, "{}", verify.log());
    assert!(verify.says(".lz4"), "{}", verify.log());
    remote.store.behave();

    let keys = [remote.keys("/snapshots/"), remote.keys("/wal/")].concat();
    for key in keys {
        let whole = remote.store.object(&key).unwrap();
        let name = key.strip_prefix("app/").unwrap();
        for length in [0, whole.len() / 2, whole.len() - 1] {
            remote.store.store(&key, whole.slice(..length));
            let line = remote.fail_restore();
            assert!(line.contains(name), "{length} of {name}: {line}");
            let mut verify = remote.verify(&[]);
            assert_eq!(verify.wait(), 1, "{length} of {name}: {}", verify.log());
            assert!(verify.says(name), "{length} of {name}: {}", verify.log());
        }
        remote.store.store(&key, whole);
    }
    remote.check();
}

#[test]
fn restores_made_while_requests_fail_are_good() {
    let remote = Remote::new();
    let daemon = remote.replicate();
    for fault in [Fault::LoseAnswer, Fault::Refuse(Refusal::SLOW_DOWN), Fault::RepeatAfter(3)] {
        remote.store.misbehave(Rule::from(fault).sometimes(0.1));
    }
    with_each(&[1, 2], |seed| {
        for round in 0..4 {
            if seed == 1 {
                remote.site.write(round, 20);
            } else {
                std::fs::remove_file(remote.restored()).unwrap();
            }
        }
    });
    remote.store.behave();
    remote.finish(daemon);
}
