use std::time::SystemTime;

use litestream::format::{Generation, History, Key, Segment, Snapshot, WalIndex, WalPos};
use litestream::restore::Target;
use litestream::restore::plan::{plans, rank};
use proptest::prelude::*;

use super::primary::at;

fn index(number: u32) -> WalIndex {
    WalIndex::new(number).unwrap()
}

/// A history of objects named `INDEX@TIME`, and `INDEX_OFFSET@TIME`.
fn history(generation: u64, snapshots: &str, segments: &str) -> History {
    let generation = Generation::from_bits(generation);
    let timed = |text: &str| -> (String, SystemTime) {
        let (name, time) = text.split_once('@').unwrap();
        (name.to_owned(), at(time.parse().unwrap()))
    };
    let snapshots = snapshots.split_whitespace().map(timed).map(|(name, created)| {
        (Key::Snapshot { generation, index: index(name.parse().unwrap()) }, 1, created)
    });
    let segments = segments.split_whitespace().map(timed).map(|(name, created)| {
        let (number, offset) = name.split_once('_').unwrap();
        let offset = offset.parse().unwrap();
        let pos = WalPos { index: index(number.parse().unwrap()), offset };
        (Key::Segment { generation, pos }, 1, created)
    });
    History::new(generation, snapshots.chain(segments))
}

/// The plans as `SNAPSHOT: first..last segment`, or the error.
fn check(snapshots: &str, segments: &str, target: Target, expected: &str) {
    let found = match plans(&history(7, snapshots, segments), target) {
        Err(error) => error.to_string(),
        Ok(plans) => {
            let plans = plans.iter().map(|plan| {
                let snapshot = plan.snapshot.index.get();
                match (plan.segments.first(), plan.segments.last()) {
                    (Some(first), Some(last)) => format!("{snapshot}: {}..{}", first.pos, last.pos),
                    _ => format!("{snapshot}"),
                }
            });
            plans.collect::<Vec<_>>().join(", ")
        }
    };
    assert_eq!(found, expected, "{snapshots:?} and {segments:?} to {target:?}");
}

#[test]
fn takes_the_newest_snapshot_first() {
    use Target::{Index, Latest, Timestamp};
    let segments = "0_0@2 0_9@3 1_0@4 2_0@6";
    let all = "2: 00000002_00000000..00000002_00000000, 0: 00000000_00000000..00000002_00000000";
    check("0@1 2@5", segments, Latest, all);
    check("0@1 2@5", segments, Index(index(9)), all);
    check("0@1 2@5", segments, Timestamp(at(99)), all);
    check("0@1 2@5", segments, Index(index(1)), "0: 00000000_00000000..00000001_00000000");
    check("0@1 2@5", segments, Timestamp(at(5)), "2, 0: 00000000_00000000..00000001_00000000");
    check("0@1 2@5", segments, Timestamp(at(2)), "0: 00000000_00000000..00000000_00000000");
    check("0@1", "", Latest, "0");
    check("3@1", "0_0@2 1_7@2", Latest, "3");
}

#[test]
fn ends_before_the_first_segment_that_is_too_new() {
    let target = Target::Timestamp(at(5));
    check("0@1", "0_0@2 0_9@9 0_18@3 1_0@4", target, "0: 00000000_00000000..00000000_00000000");
    // What comes before the snapshot does not matter.
    check("0@9 1@2", "0_0@9 1_0@3", target, "1: 00000001_00000000..00000001_00000000");
}

const REMEDY: &str =
    "restore what was before it with -timestamp, or from another replica with -replica";

#[test]
fn refuses_gaps() {
    let segment = |name| {
        format!(
            "a WAL segment is missing before generations/0000000000000007/wal/{name}.wal.lz4: \
             {REMEDY}"
        )
    };
    let wal = |name| {
        format!(
            "all segments of a WAL are missing, generations/0000000000000007/wal/{name}_*: {REMEDY}"
        )
    };
    let latest = Target::Latest;
    check("0@1", "0_9@2", latest, &segment("00000000_00000009"));
    check("0@1", "0_0@2 1_9@2", latest, &segment("00000001_00000009"));
    check("0@1", "0_0@2 2_0@2", latest, &wal("00000001"));
    check("0@1", "1_0@2", latest, &wal("00000000"));
    check("0@1", "0_0@2 2_0@2", Target::Index(index(1)), &wal("00000001"));
    // Starting from the older snapshot, something would be missing.
    check("0@1 2@5", "0_0@2 2_0@6", latest, "2: 00000002_00000000..00000002_00000000");
    check("0@1 2@5", "0_0@2", latest, "2");
}

#[test]
fn names_the_oldest_when_all_is_too_new() {
    let target = Target::Timestamp(at(1));
    let expected = "no snapshot at or before 2023-11-14T22:13:21.000Z; the oldest is from \
                    2023-11-14T22:13:24.000Z";
    check("0@4 1@6", "0_0@5", target, expected);
    let error = rank(&[history(1, "0@4 1@6", "")], target, None).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let target = Target::Index(index(1));
    check(
        "2@4",
        "2_0@5",
        target,
        "no snapshot at or before index 00000001; the oldest is 00000002",
    );
}

#[test]
fn ranks_the_newest_generation_and_its_furthest_copy_first() {
    let ranked = |histories: &[History], target, only| {
        let ranking = rank(histories, target, only).unwrap();
        (ranking.usable, ranking.passed_over)
    };
    let old = history(1, "0@1", "0_0@2 0_9@20");
    let new = history(2, "0@10", "0_0@30");
    let further = history(2, "0@10", "0_0@11 0_9@12");
    let headless = history(3, "", "0_0@40");
    let empty = history(4, "", "");
    let histories = [old, new, further, headless, empty];
    let latest = Target::Latest;
    assert_eq!(ranked(&histories, latest, None), (vec![2, 1, 0], vec![3]));
    assert_eq!(ranked(&histories, Target::Timestamp(at(9)), None), (vec![0], vec![]));
    assert_eq!(ranked(&histories, latest, Some(Generation::from_bits(1))), (vec![0], vec![]));
    // One ended and the other began within one tick of the clock.
    let earlier = history(9, "0@1", "0_0@5");
    let later = history(8, "0@5", "");
    assert_eq!(ranked(&[earlier, later], latest, None), (vec![1, 0], vec![]));
    let error = |histories: &[History], only| {
        rank(histories, latest, Some(Generation::from_bits(only))).unwrap_err().to_string()
    };
    assert!(error(&histories, 9).contains("there is no generation 0000000000000009"));
    assert!(error(&histories, 3).contains("has WAL segments but no snapshot"));
    assert_eq!(error(&histories[4..], 4), "no matching backups found");
}

fn whole() -> impl Strategy<Value = History> {
    let wals = prop::collection::vec((1_u64..4, any::<bool>()), 1..6);
    wals.prop_map(|wals| {
        let mut time = 0;
        let mut next = || {
            time += 1;
            at(time)
        };
        let generation = Generation::from_bits(7);
        let mut history = History { generation, snapshots: Vec::new(), segments: Vec::new() };
        for (number, (segments, snapshot)) in (0..).zip(wals) {
            if snapshot || number == 0 {
                let snapshot = Snapshot { index: index(number), size: 1, created: next() };
                history.snapshots.push(snapshot);
            }
            for offset in 0..segments {
                let pos = WalPos { index: index(number), offset };
                history.segments.push(Segment { pos, size: 1, created: next() });
            }
        }
        history
    })
}

proptest! {
    #[test]
    fn reaches_the_moment_that_is_asked_for(history in whole(), seconds in 1_u64..30) {
        let time = at(seconds);
        for plan in plans(&history, Target::Timestamp(time)).unwrap() {
            let reached: Vec<_> = history
                .segments
                .iter()
                .filter(|segment| {
                    plan.snapshot.index <= segment.pos.index && segment.created <= time
                })
                .copied()
                .collect();
            prop_assert_eq!(&*plan.segments, &*reached);
        }
    }

    #[test]
    fn never_leaves_out_a_wal(
        history in whole(),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        last in 0_u32..6,
    ) {
        let mut damaged = history.clone();
        for lost in lost {
            if !damaged.segments.is_empty() {
                let at = lost.index(damaged.segments.len());
                damaged.segments.remove(at);
            }
        }
        for target in [Target::Latest, Target::Index(index(last))] {
            for plan in plans(&damaged, target).into_iter().flatten() {
                let mut expected = WalPos::start_of(plan.snapshot.index);
                for segment in plan.segments.iter() {
                    if segment.pos.index != expected.index {
                        expected = WalPos::start_of(expected.index.next().unwrap());
                    }
                    prop_assert_eq!(segment.pos.index, expected.index);
                    prop_assert!(segment.pos.offset >= expected.offset);
                    prop_assert!(expected.offset > 0 || segment.pos.offset == 0);
                    expected.offset = segment.pos.offset + 1;
                }
            }
        }
    }
}

/// Nothing that is read there shows what another daemon has stored.
#[test]
fn names_the_logs_that_the_end_is_beside() {
    use Target::{Index, Latest, Timestamp};
    let beside = |segments: &str, target| {
        let history = history(7, "0@1", segments);
        let plan = plans(&history, target).unwrap().swap_remove(0);
        plan.ends_beside(&history).map(WalIndex::get).collect::<Vec<_>>()
    };
    let segments = "0_0@2 0_9@9 1_0@3 1_9@4 2_0@5";
    assert_eq!(beside(segments, Latest), [2], "it may be a stray itself");
    assert_eq!(beside("0_0@2 0_9@9 1_0@3 1_9@4", Latest), [] as [u32; 0]);
    assert_eq!(beside(segments, Index(index(0))), [1], "what is before it may be one");
    assert_eq!(beside(segments, Timestamp(at(8))), [0, 1], "what ends it may be one");
    assert_eq!(beside("", Latest), [] as [u32; 0]);
}
