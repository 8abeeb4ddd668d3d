//! Replicas that grow and expire, in random steps and under a clock that jumps.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::format::{WalIndex, WalPos};
use crate::restore::Target;
use crate::restore::plan::{plans, rank};

const RETENTION: u64 = 20;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next segment of the WAL is stored.
    Segment,
    NextWal,
    Snapshot,
    Generation,
    Wait(u64),
    /// The clock is set back, or far ahead.
    SetBack(u64),
    SetAhead(u64),
    /// Everything that has expired is deleted, or some of it: `whole` batches, any part of the next
    /// one, and nothing of those after it.
    Expire {
        whole: usize,
        part: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Segment),
        4 => Just(Step::NextWal),
        4 => Just(Step::Snapshot),
        2 => Just(Step::Generation),
        8 => (0..8_u64).prop_map(Step::Wait),
        1 => (1..40_u64).prop_map(Step::SetBack),
        1 => (20..60_u64).prop_map(Step::SetAhead),
        6 => (0..5_usize, any::<u64>()).prop_map(|(whole, part)| Step::Expire { whole, part }),
    ]
}

#[derive(Clone, Debug, Default)]
struct Replica {
    objects: Vec<(Key, SystemTime)>,
    now: u64,
    stored: u64,
    generations: u64,
    /// Where the next segment of the current generation begins.
    next: WalPos,
    /// The clock was set back, so times do not say what was before what.
    set_back: bool,
}

impl Replica {
    fn begun() -> Self {
        let mut replica = Self { now: 1000, ..Self::default() };
        replica.begin_generation();
        replica
    }

    fn current(&self) -> Generation {
        // In no order, like generations that are drawn at random.
        Generation::from_bits(self.generations.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn store(&mut self, key: Key) {
        // No two times are the same: otherwise only a number could tell which generation came
        // first.
        self.stored += 1;
        self.objects.push((key, at(self.now) + Duration::from_nanos(self.stored)));
    }

    fn begin_generation(&mut self) {
        self.generations += 1;
        self.next = WalPos::default();
        self.store(Key::Snapshot { generation: self.current(), index: self.next.index });
    }

    fn end_wal(&mut self) {
        if self.next.offset > 0 {
            self.next = WalPos::start_of(self.next.index.next().unwrap());
        }
    }

    fn store_segment(&mut self) {
        self.store(Key::Segment { generation: self.current(), pos: self.next });
        self.next.offset += 100;
    }

    fn store_snapshot(&mut self) {
        self.end_wal();
        let key = Key::Snapshot { generation: self.current(), index: self.next.index };
        if self.objects.iter().all(|(of, _)| *of != key) {
            self.store(key);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Segment => self.store_segment(),
            Step::NextWal => {
                self.end_wal();
                self.store_segment();
            }
            Step::Snapshot => self.store_snapshot(),
            Step::Generation => self.begin_generation(),
            Step::Wait(seconds) | Step::SetAhead(seconds) => self.now += seconds,
            Step::SetBack(seconds) => {
                self.now -= seconds.min(self.now - 100);
                self.set_back = true;
            }
            Step::Expire { whole, part } => self.expire(whole, part),
        }
    }

    fn histories(&self) -> Vec<History> {
        let generations: BTreeSet<Generation> =
            self.objects.iter().map(|(key, _)| key.generation()).collect();
        let listed = || self.objects.iter().map(|(key, created)| (*key, 1, *created));
        generations.into_iter().map(|generation| History::new(generation, listed())).collect()
    }

    /// The generation that a restore would take, and the last object of it.
    fn restored(&self, target: Target) -> Result<(Generation, Key), String> {
        let histories = self.histories();
        let ranking = rank(&histories, target, None).map_err(|error| error.to_string())?;
        let best = &histories[ranking.usable[0]];
        let plans = plans(best, target).map_err(|error| error.to_string())?;
        Ok((best.generation, plans[0].last_key()))
    }

    fn expire(&mut self, whole: usize, part: u64) {
        let retention = Duration::from_secs(RETENTION);
        let batches = expired(&self.histories(), Some(self.current()), at(self.now), retention);
        let some = |at: usize| part >> (at % 64) & 1 > 0;
        let mut gone: BTreeSet<Key> = batches.iter().take(whole).flatten().copied().collect();
        let parts = batches.iter().skip(whole).take(1).flatten().enumerate();
        gone.extend(parts.filter(|(at, _)| some(*at)).map(|(_, key)| *key));
        let before = self.clone();
        self.objects.retain(|(key, _)| !gone.contains(key));
        self.expect_as(&before);
        if whole >= batches.len() && !self.set_back {
            self.expect_no_more_than_needed();
        }
    }

    /// Checks that every moment that counts is restored as it was before.
    ///
    /// After the clock was set back, times do not say which of two generations is newer: then it is
    /// enough that something is restored.
    fn expect_as(&self, before: &Self) {
        let horizon = at(self.now - RETENTION);
        let times = before.objects.iter().map(|(_, created)| *created);
        let moments = times.filter(|time| horizon <= *time).chain([horizon, at(self.now)]);
        let moments: BTreeSet<SystemTime> = moments.collect();
        for target in moments.into_iter().map(Target::Timestamp).chain([Target::Latest]) {
            let (was, is) = (before.restored(target), self.restored(target));
            match was {
                Ok(_) if self.set_back => assert!(is.is_ok(), "{is:?}: {target:?} of {before:#?}"),
                Ok(was) => assert_eq!(Ok(was), is, "{target:?} of {before:#?}"),
                Err(error) => assert!(is.is_err(), "{error}, but now {is:?}"),
            }
        }
    }

    fn expect_no_more_than_needed(&self) {
        let horizon = at(self.now - RETENTION);
        for history in self.histories() {
            let snapshots = &history.snapshots;
            let base = snapshots.iter().rposition(|snapshot| snapshot.created <= horizon);
            assert!(base.is_none_or(|base| base == 0), "older than needed: {history:#?}");
            let first = snapshots.first().map_or(WalIndex::default(), |first| first.index);
            let orphan = history.segments.iter().find(|segment| segment.pos.index < first);
            assert_eq!(orphan, None);
            assert!(!snapshots.is_empty(), "nothing to apply it to: {history:#?}");
        }
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

proptest! {
    #[test]
    fn deletes_nothing_that_a_moment_within_the_retention_needs(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut replica = Replica::begun();
        for step in steps {
            replica.step(step);
        }
        let retention = Duration::from_secs(RETENTION);
        replica.expire(3, 0);
        let current = replica.current();
        let histories = replica.histories();
        let current = histories.iter().find(|history| history.generation == current).unwrap();
        prop_assert!(!current.snapshots.is_empty(), "the last snapshot is gone");
        let newest = current.snapshots.last().unwrap().created;
        let due = at(replica.now).duration_since(newest).is_ok_and(|age| age >= retention);
        prop_assert_eq!(needs_snapshot(current, at(replica.now), retention), due);
    }
}
