//! Requests that are refused, or carried out without an answer, or more than once.

use std::collections::HashSet;
use std::time::Duration;

use super::{Remote, Signs, with_each};
use crate::rogue::{Fault, Kind, Refusal, Rule};
use crate::support::open;

/// Enough failures to outlast the second attempt, which the SDK makes by itself.
const TIMES: u32 = 4;

fn struck(signs: &Signs) -> bool {
    signs.struck >= TIMES
}

#[test]
fn a_store_that_refuses_for_a_while_only_delays() {
    with_each(&Refusal::PASSING, |refusal| {
        let rule = Rule::from(Fault::Refuse(refusal));
        let said = |signs: &Signs| struck(signs) && signs.log.contains(&refusal.status.to_string());
        Remote::new().survives(|store| store.misbehave(rule.clone()), said);
    });
}

#[test]
fn one_kind_of_failure_after_the_other_only_delays() {
    let sequence = [
        Fault::Refuse(Refusal::INTERNAL),
        Fault::LoseAnswer,
        Fault::Refuse(Refusal::SLOW_DOWN),
        Fault::Deny(Refusal::TIMEOUT),
        Fault::Refuse(Refusal::TOO_MANY),
        Fault::Delay(Duration::from_millis(200)),
    ];
    let trouble = |store: &crate::rogue::Rogue| {
        for fault in sequence {
            store.misbehave(Rule::from(fault).times(1));
        }
    };
    Remote::new().survives(trouble, |signs| signs.struck == 6);
}

/// At the start, this would end the process, see `beginnings`.
#[test]
fn a_store_that_forbids_something_later_only_delays() {
    with_each(&[Refusal::DENIED, Refusal::NO_BUCKET], |refusal| {
        let remote = Remote::new();
        let daemon = remote.replicate();
        let rule = Rule::from(Fault::Refuse(refusal));
        let said = |signs: &Signs| signs.log.contains(refusal.code);
        remote.survives_later(&daemon, |store| store.misbehave(rule.clone()), said);
        remote.finish(daemon);
    });
}

/// If the seal of our own object cannot be read, the object must not be taken for another
/// daemon's.
#[test]
fn an_answer_that_makes_no_sense_is_asked_for_again() {
    let remote = Remote::new();
    let daemon = remote.replicate();
    // The daemon looks whose the existing object is.
    let lost = Rule::from(Fault::LoseAnswer).on(&[Kind::Put]).times(TIMES);
    let garbled = Rule::from(Fault::Garble).on(&[Kind::Get]).times(2);
    let trouble = |store: &crate::rogue::Rogue| {
        store.misbehave(lost.clone());
        store.misbehave(garbled.clone());
    };
    remote.survives_later(&daemon, trouble, |signs| signs.struck == TIMES + 2);
    remote.finish(daemon);
}

#[test]
fn a_full_bucket_is_named_and_written_to_again_once_there_is_room() {
    with_each(&[Refusal::FULL, Refusal::QUOTA], |refusal| {
        let remote = Remote::new();
        let daemon = remote.replicate();
        let rule = Rule::from(Fault::Refuse(refusal)).on(&Kind::STORING);
        let said = |signs: &Signs| signs.log.contains(refusal.code);
        remote.survives_later(&daemon, |store| store.misbehave(rule.clone()), said);
        remote.finish(daemon);
    });
}

#[test]
fn an_object_whose_answer_is_lost_is_sent_again_before_any_other() {
    with_each(&[Fault::LoseAnswer, Fault::Deny(Refusal::INTERNAL)], |fault| {
        let remote = Remote::new();
        let rule = Rule::from(fault).on(&[Kind::Put]).times(TIMES);
        remote.survives(|store| store.misbehave(rule.clone()), struck);

        let requests = remote.store.requests();
        let sent: Vec<&str> = requests
            .iter()
            .filter(|request| request.kind == Kind::Put)
            .map(|request| request.key.as_str())
            .collect();
        let mut once = sent.clone();
        once.dedup();
        assert!(once.len() < sent.len(), "none was sent twice in a row: {sent:?}");
        let different: HashSet<&str> = once.iter().copied().collect();
        assert_eq!(different.len(), once.len(), "out of order: {sent:?}");
    });
}

#[test]
fn requests_that_are_carried_out_twice_change_nothing() {
    with_each(&[Fault::Repeat, Fault::RepeatAfter(1), Fault::RepeatAfter(5)], |fault| {
        let repeats = |signs: &Signs| signs.struck > 0;
        Remote::new().survives(|store| store.misbehave(fault), repeats);
    });
}

/// The snapshot is too large to be stored with one request.
#[test]
fn a_large_snapshot_survives_failures_of_each_of_its_requests() {
    let kinds = [Kind::BeginUpload, Kind::PutPart, Kind::CompleteUpload];
    let faults = [Fault::LoseAnswer, Fault::Refuse(Refusal::SLOW_DOWN), Fault::Repeat];
    for fault in faults {
        let remote = Remote::new();
        let connection = open(&remote.site.database());
        let sql = "CREATE TABLE blob AS SELECT randomblob(17000000) AS content";
        connection.execute_batch(sql).unwrap();
        drop(connection);
        for kind in kinds {
            remote.store.misbehave(Rule::from(fault).on(&[kind]).times(3));
        }
        let daemon = remote.replicate();
        assert!(remote.store.struck() >= 3);
        remote.site.write(2, 10);
        daemon.stop();
        // Nobody can know of the uploads whose first request failed.
        let unknown = if fault == Fault::Refuse(Refusal::SLOW_DOWN) { 0 } else { 3 };
        assert!(remote.store.uploads() <= unknown, "{}: {fault:?}", remote.store.uploads());
        remote.check();
    }
}
