//! Plans for replicas of several generations, with missing objects and foreign names.

use std::collections::BTreeSet;
use std::time::SystemTime;

use litestream::format::{Generation, History, Key, Snapshot, WalIndex, WalPos};
use litestream::restore::plan::{Plan, plans, rank};
use litestream::restore::{PlanError, Target};
use proptest::prelude::*;
use proptest::sample::Index;

use super::primary::at;

/// A listing of names and times, in any order.
type Listing = Vec<(String, SystemTime)>;

/// Lists generations that begin one after the other. For each log, they give the number of
/// segments, and whether there is a snapshot before it.
fn listing(generations: &[Vec<(u64, bool)>]) -> Listing {
    let mut time = 0;
    let mut listing = Vec::new();
    for (number, logs) in (1..).zip(generations) {
        // Unordered, like random generations.
        let generation = Generation::from_bits(u64::wrapping_mul(number, 0x9e37_79b9_7f4a_7c15));
        for (index, (segments, snapshot)) in (0..).zip(logs) {
            let index = WalIndex::new(index).unwrap();
            let snapshot =
                (*snapshot || index.get() == 0).then_some(Key::Snapshot { generation, index });
            let segment =
                |at: u64| Key::Segment { generation, pos: WalPos { index, offset: at * 536 } };
            for key in snapshot.into_iter().chain((0..*segments).map(segment)) {
                time += 1;
                listing.push((key.to_string(), at(time)));
            }
        }
    }
    listing
}

fn foreign(listing: &mut Listing) {
    for name in [
        "lost+found/x",
        "generations/README",
        "generations/00000000000000AA/wal/00000000_00000000.wal.lz4",
        "generations/9e3779b97f4a7c15/wal/00000000_00000000.wal.lz4.tmp",
        "generations/9e3779b97f4a7c15/snapshots/80000000.snapshot.lz4",
        "generations/9e3779b97f4a7c15/snapshots/",
    ] {
        listing.push((name.to_owned(), at(500)));
    }
}

fn histories(listing: &Listing) -> Vec<History> {
    let keys =
        || listing.iter().filter_map(|(name, created)| Some((name.parse().ok()?, 1, *created)));
    let generations: BTreeSet<Generation> =
        keys().map(|(key, ..): (Key, _, _)| key.generation()).collect();
    generations.into_iter().map(|generation| History::new(generation, keys())).collect()
}

fn includes(target: Target, index: WalIndex, created: SystemTime) -> bool {
    match target {
        Target::Latest => true,
        Target::Index(last) => index <= last,
        Target::Timestamp(time) => created <= time,
        Target::Position(_) => unreachable!("it is not asked for"),
    }
}

fn expect_plan(plan: &Plan, history: &History, target: Target) {
    let Snapshot { index, created, .. } = plan.snapshot;
    assert!(includes(target, index, created), "newer than asked for: {plan:?}");
    let mut end = WalPos::start_of(index);
    for (at, segment) in plan.segments.iter().enumerate() {
        assert!(history.segments.contains(segment));
        assert!(includes(target, segment.pos.index, segment.created), "newer than asked for");
        let (begins, pos) = (segment.pos.offset == 0, segment.pos);
        let follows = pos.index == end.index && end.offset < pos.offset && !begins;
        let next = begins && (Some(pos.index) == end.index.next() || at == 0 && pos == end);
        assert!(follows || next, "a gap before {pos}: {plan:?}");
        end = pos;
    }
    // Nothing that could be applied after it is left out.
    let behind = |pos: WalPos| end < pos || plan.segments.is_empty() && end <= pos;
    let next = history.segments.iter().find(|segment| behind(segment.pos));
    assert!(
        next.is_none_or(|next| !includes(target, next.pos.index, next.created)),
        "older than asked for: {next:?} behind {plan:?}"
    );
    // There is no snapshot beyond it.
    let newest = history.snapshots.iter().rev().find(|s| includes(target, s.index, s.created));
    assert!(
        newest.is_some_and(
            |newest| newest.index <= end.index || Some(newest.index) == end.index.next()
        )
    );
}

fn expect_error(error: &PlanError, history: &History, target: Target) {
    match error {
        PlanError::SegmentMissing { before: Key::Segment { pos, .. } } => {
            let of_log = || history.segments.iter().filter(|s| s.pos.index == pos.index);
            assert_eq!(of_log().next().map(|segment| segment.pos), Some(*pos), "{error}");
            assert_ne!(pos.offset, 0);
        }
        PlanError::WalMissing { index, .. } => {
            assert!(history.segments.iter().all(|segment| segment.pos.index != *index), "{error}");
            let beyond = |at: WalIndex| *index < at;
            let later = history.segments.iter().any(|segment| beyond(segment.pos.index));
            assert!(later || history.snapshots.iter().any(|s| beyond(s.index)), "{error}");
        }
        PlanError::NoSnapshotAtOrBefore { oldest, .. } => {
            let usable = |s: &&Snapshot| includes(target, s.index, s.created);
            assert_eq!(history.snapshots.iter().find(usable), None, "{error}");
            assert!(history.snapshots.contains(oldest));
        }
        PlanError::NoSnapshot(_) => assert!(history.snapshots.is_empty(), "{error}"),
        other => panic!("{other}"),
    }
}

proptest! {
    #[test]
    fn is_without_a_gap_or_names_it(
        shape in prop::collection::vec(prop::collection::vec((0..4_u64, any::<bool>()), 1..5), 1..4),
        lost in prop::collection::vec(any::<Index>(), 0..4),
        order in any::<u64>(),
        last in 0..6_u32,
        time in 0..40_u64,
    ) {
        let mut listing = listing(&shape);
        for lost in lost {
            if listing.len() > 1 {
                listing.remove(lost.index(listing.len()));
            }
        }
        foreign(&mut listing);
        listing.sort_by_key(|(name, _)| name.bytes().fold(order, |sum, byte| sum.rotate_left(5) ^ u64::from(byte)));
        let histories = histories(&listing);
        let index = Target::Index(WalIndex::new(last).unwrap());
        for target in [Target::Latest, index, Target::Timestamp(at(time))] {
            let Ok(ranking) = rank(&histories, target, None) else { continue };
            for (rank, history) in ranking.usable.iter().map(|at| &histories[*at]).enumerate() {
                let seen = |history: &History| {
                    let snapshots = history.snapshots.iter().map(|s| s.created);
                    let all = snapshots.chain(history.segments.iter().map(|s| s.created));
                    all.filter(|created| !matches!(target, Target::Timestamp(time) if time < *created)).max()
                };
                if rank == 0 {
                    let newer = histories.iter().enumerate().filter(|(_, other)| seen(history) < seen(other));
                    prop_assert!(newer.into_iter().all(|(at, _)| ranking.passed_over.contains(&at)));
                }
                match plans(history, target) {
                    Ok(plans) => {
                        prop_assert!(plans.windows(2).all(|two| two[1].snapshot.index < two[0].snapshot.index));
                        for plan in &plans {
                            expect_plan(plan, history, target);
                        }
                    }
                    Err(error) => expect_error(&error, history, target),
                }
            }
        }
    }

    /// A listing in any order gives the same history.
    #[test]
    fn is_made_of_the_same_history_in_any_order(
        shape in prop::collection::vec((0..4_u64, any::<bool>()), 1..5),
        order in any::<u64>(),
    ) {
        let in_order = listing(&[shape]);
        let mut mixed = in_order.clone();
        foreign(&mut mixed);
        mixed.sort_by_key(|(name, _)| name.bytes().fold(order, |sum, byte| sum.rotate_left(7) ^ u64::from(byte)));
        prop_assert_eq!(histories(&in_order), histories(&mixed));
    }
}
