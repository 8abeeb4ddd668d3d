//! Plans what to download. Pure: listings come in, a plan goes out.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::SystemTime;

use super::{PlanError, Target};
use crate::format::{Generation, History, Key, Segment, Snapshot, WalIndex, WalPos};

/// A snapshot and the segments to apply to it, in order, with no WAL left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub generation: Generation,
    pub snapshot: Snapshot,
    pub segments: Segments,
}

/// Segments that follow one another. A history of months has millions of them, and hundreds of
/// snapshots: its plans share one list.
#[derive(Clone)]
pub struct Segments {
    all: Arc<[Segment]>,
    range: Range<usize>,
}

impl From<Vec<Segment>> for Segments {
    fn from(all: Vec<Segment>) -> Self {
        Self { range: 0..all.len(), all: all.into() }
    }
}

impl Deref for Segments {
    type Target = [Segment];

    fn deref(&self) -> &[Segment] {
        &self.all[self.range.clone()]
    }
}

impl PartialEq for Segments {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Segments {}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Which histories to restore from, the best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranking {
    /// The numbers of the histories that have a snapshot.
    pub usable: Vec<usize>,
    /// The numbers of those that would come before the best if they had a snapshot.
    pub passed_over: Vec<usize>,
}

/// Ranks `histories`, which may be of several replicas, so that a generation may occur twice.
///
/// The generation with the newest object comes first, and of its copies the one that reaches
/// furthest: the clocks of two stores cannot be compared, but positions can. If one generation
/// ends and another begins within a tick of the store's clock, which may be a second, the one that
/// began later comes first.
pub fn rank(
    histories: &[History],
    target: Target,
    generation: Option<Generation>,
) -> Result<Ranking, PlanError> {
    if histories.iter().all(|history| history.created().is_none()) {
        return Err(PlanError::NoBackup);
    }
    let chosen = |history: &History| generation.is_none_or(|only| only == history.generation);
    if let Some(only) = generation
        && !histories.iter().any(|history| chosen(history) && history.created().is_some())
    {
        return Err(PlanError::GenerationMissing(only));
    }
    let visible: Vec<History> = histories.iter().map(|history| visible(history, target)).collect();
    let mut lives: HashMap<Generation, (SystemTime, SystemTime)> = HashMap::new();
    for history in &visible {
        let Some((oldest, newest)) = history.created() else { continue };
        let life = lives.entry(history.generation).or_insert((oldest, newest));
        *life = (life.0.min(oldest), life.1.max(newest));
    }
    let mut order: Vec<usize> = (0..histories.len())
        .filter(|&at| chosen(&visible[at]) && visible[at].created().is_some())
        .collect();
    order.sort_by_key(|&at| {
        let history = &visible[at];
        let generation = history.generation;
        let life = lives.get(&generation).map(|(oldest, newest)| (newest, oldest));
        Reverse((life, generation, end(history)))
    });
    let has_snapshot = |at: &usize| !visible[*at].snapshots.is_empty();
    let Some(best) = order.iter().position(has_snapshot) else {
        let chosen: Vec<&History> = histories.iter().filter(|history| chosen(history)).collect();
        return Err(no_snapshot(&chosen, target));
    };
    let passed_over = order[..best].to_vec();
    order.retain(has_snapshot);
    Ok(Ranking { usable: order, passed_over })
}

/// The ways to restore the same state from `history`, the shortest first.
pub fn plans(history: &History, target: Target) -> Result<Vec<Plan>, PlanError> {
    let usable = |snapshot: &&Snapshot| target.includes_snapshot(snapshot);
    let snapshots = || history.snapshots.iter().filter(usable).rev();
    let Some(newest) = snapshots().next() else {
        return Err(no_snapshot(&[history], target));
    };
    // A restore from an older snapshot must reach up to the newest one. And "the latest before
    // that index" is not allowed if there is something after the index.
    let needed = match target {
        Target::Index(index) if end(history).is_some_and(|end| index < end.index) => index.next(),
        _ => Some(newest.index),
    };
    let line = Line::new(history, target);
    let attempts = snapshots().map(|&snapshot| line.plan(snapshot, needed));
    let (plans, errors): (Vec<_>, Vec<_>) = attempts.partition(Result::is_ok);
    match errors.into_iter().find_map(Result::err) {
        Some(error) if plans.is_empty() => Err(error),
        _ => Ok(plans.into_iter().flatten().collect()),
    }
}

/// All segments of a history, and where a run of them must end.
struct Line {
    generation: Generation,
    all: Arc<[Segment]>,
    /// Numbers of segments that are beyond the target.
    beyond: Vec<usize>,
    /// Numbers of segments that do not follow the one before them.
    gaps: Vec<usize>,
}

impl Line {
    fn new(history: &History, target: Target) -> Self {
        let all: Arc<[Segment]> = history.segments.as_slice().into();
        let where_beyond =
            |(at, segment): (usize, &Segment)| (!target.includes_segment(segment)).then_some(at);
        let beyond = all.iter().enumerate().filter_map(where_beyond).collect();
        let gap = |at: &usize| {
            let (before, pos) = (all[at - 1].pos, all[*at].pos);
            before.index < pos.index && (before.index.next() < Some(pos.index) || pos.offset != 0)
        };
        let gaps = (1..all.len()).filter(gap).collect();
        Self { generation: history.generation, all, beyond, gaps }
    }

    /// Plans what to apply to `snapshot`. Refuses gaps that the names alone show, and plans that
    /// end before `needed` begins.
    ///
    /// The segments, ordered by position, end before the first that is beyond the target: later
    /// ones may be older by the clock of the store, but cannot be applied without it.
    fn plan(&self, snapshot: Snapshot, needed: Option<WalIndex>) -> Result<Plan, PlanError> {
        let generation = self.generation;
        let start = self.all.partition_point(|segment| segment.pos.index < snapshot.index);
        let end = first_from(&self.beyond, start).unwrap_or(self.all.len());
        let segments = Segments { all: Arc::clone(&self.all), range: start..end };
        if let Some(first) = segments.first() {
            self.expect_start(first.pos, Some(snapshot.index))?;
        }
        if let Some(gap) = first_from(&self.gaps, start + 1).filter(|gap| *gap < end) {
            self.expect_start(self.all[gap].pos, self.all[gap - 1].pos.index.next())?;
        }
        let last = segments.last().map(|last| last.pos);
        let after = last.map_or(Some(snapshot.index), |last| last.index.next());
        match after.filter(|after| Some(*after) < needed) {
            Some(index) => Err(PlanError::WalMissing { generation, index }),
            None => Ok(Plan { generation, snapshot, segments }),
        }
    }

    /// Refuses a segment that is not the start of the WAL `expected`.
    fn expect_start(&self, pos: WalPos, expected: Option<WalIndex>) -> Result<(), PlanError> {
        let generation = self.generation;
        if let Some(index) = expected.filter(|index| *index < pos.index) {
            return Err(PlanError::WalMissing { generation, index });
        }
        if pos.offset != 0 {
            return Err(PlanError::SegmentMissing { before: Key::Segment { generation, pos } });
        }
        Ok(())
    }
}

/// The first of `numbers`, which are sorted, that is not below `least`.
fn first_from(numbers: &[usize], least: usize) -> Option<usize> {
    numbers.get(numbers.partition_point(|number| *number < least)).copied()
}

impl Plan {
    /// The objects in the order in which they are applied, with their sizes in the store.
    pub fn objects(&self) -> impl Iterator<Item = (Key, u64)> {
        let generation = self.generation;
        let Snapshot { index, size, .. } = self.snapshot;
        let snapshot = (Key::Snapshot { generation, index }, size);
        let segment =
            move |segment: &Segment| (Key::Segment { generation, pos: segment.pos }, segment.size);
        std::iter::once(snapshot).chain(self.segments.iter().map(segment))
    }

    /// The object that is applied last.
    pub fn last_key(&self) -> Key {
        let generation = self.generation;
        match self.segments.last() {
            Some(segment) => Key::Segment { generation, pos: segment.pos },
            None => Key::Snapshot { generation, index: self.snapshot.index },
        }
    }

    /// The logs of `history` whose first segments may be strays, or may follow one, which the
    /// restore would not notice because it ends there.
    pub fn ends_beside(&self, history: &History) -> impl Iterator<Item = WalIndex> {
        let last = self.segments.last().map(|last| last.pos);
        let own = last.filter(|last| last.offset == 0).map(|last| last.index);
        let next = last.and_then(|last| last.index.next()).filter(|next| {
            let begin = WalPos::start_of(*next);
            history.segments.binary_search_by_key(&begin, |segment| segment.pos).is_ok()
        });
        own.into_iter().chain(next)
    }

    /// Whether there are segments that were stored after the snapshot.
    ///
    /// Litestream copies a database that may be ahead of the WAL it has sent. Such a copy is
    /// consistent only once the WAL has caught up, and this is the sign of it.
    pub fn caught_up(&self) -> bool {
        self.segments.iter().any(|segment| segment.created > self.snapshot.created)
    }

    /// When the last of its objects was stored.
    pub fn created(&self) -> SystemTime {
        self.segments.last().map_or(self.snapshot.created, |segment| segment.created)
    }
}

/// `history` without what was stored after the requested time.
fn visible(history: &History, target: Target) -> History {
    let mut history = history.clone();
    let Target::Timestamp(time) = target else { return history };
    history.snapshots.retain(|snapshot| snapshot.created <= time);
    history.segments.retain(|segment| segment.created <= time);
    history
}

/// The furthest that a history reaches.
fn end(history: &History) -> Option<WalPos> {
    let snapshot = history.snapshots.last().map(|snapshot| WalPos::start_of(snapshot.index));
    snapshot.max(history.segments.last().map(|segment| segment.pos))
}

fn no_snapshot(histories: &[&History], target: Target) -> PlanError {
    let snapshots = histories.iter().flat_map(|history| &history.snapshots);
    let oldest = match target {
        Target::Timestamp(_) => snapshots.min_by_key(|snapshot| snapshot.created),
        Target::Index(_) | Target::Position(_) | Target::Latest => {
            snapshots.min_by_key(|snapshot| snapshot.index)
        }
    };
    match (oldest, histories.first()) {
        (Some(&oldest), _) => PlanError::NoSnapshotAtOrBefore { target, oldest },
        (None, Some(history)) => PlanError::NoSnapshot(history.generation),
        (None, None) => PlanError::NoBackup,
    }
}
