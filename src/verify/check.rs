//! Checks what listings and seals prove. Pure: what was found comes in, defects go out.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::catalog::Found;
use crate::format::{Generation, History, Key, Kind, Seal, WalIndex, WalPos};
use crate::restore::{Unlinked, are_rivals};

/// Something that is wrong with a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The object that is wrong or missing.
    pub object: Key,
    pub problem: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.problem)
    }
}

/// Everything that is wrong with a generation, as far as its names and seals show it.
///
/// Objects missing after the last one cannot be noticed. Objects without a seal are taken for
/// Litestream's if the whole generation has none: then only the names are checked.
pub fn check(history: &History, seals: &BTreeMap<Key, Found>) -> Vec<Defect> {
    let mut check = Check {
        generation: history.generation,
        sealed: seals.values().any(|found| !matches!(found, Ok(None))),
        page_size: seals.values().flatten().flatten().map(|seal| seal.page_size).max(),
        defects: Vec::new(),
        defective: HashSet::new(),
    };
    let snapshots: Vec<Snapshot> = history
        .snapshots
        .iter()
        .map(|&crate::format::Snapshot { index, .. }| {
            let key = Key::Snapshot { generation: history.generation, index };
            Snapshot { index, seal: check.own(key, seals) }
        })
        .collect();
    let segments: Vec<Segment> = history
        .segments
        .iter()
        .map(|&crate::format::Segment { pos, .. }| {
            let key = Key::Segment { generation: history.generation, pos };
            Segment { pos, seal: check.own(key, seals) }
        })
        .collect();
    check.beginning(&snapshots, &segments);
    for pair in segments.windows(2) {
        check.neighbours(&pair[0], &pair[1], &snapshots);
    }
    for snapshot in &snapshots {
        check.snapshot(snapshot, &segments);
        check.predecessor(snapshot, &snapshots);
    }
    check.defects
}

/// A snapshot, with its seal if that is valid by itself.
struct Snapshot {
    index: WalIndex,
    seal: Option<Seal>,
}

impl Snapshot {
    fn predecessor(&self) -> Option<WalIndex> {
        self.seal?.predecessor()
    }

    /// Whether it does not depend on anything before it.
    fn begins_anew(&self) -> bool {
        self.seal.is_some_and(|seal| seal.predecessor().is_none())
    }
}

/// A segment, with its seal if that is valid by itself.
struct Segment {
    pos: WalPos,
    seal: Option<Seal>,
}

struct Check {
    generation: Generation,
    /// Whether the generation is one of ours.
    sealed: bool,
    page_size: Option<u32>,
    defects: Vec<Defect>,
    /// The objects in `defects`.
    defective: HashSet<Key>,
}

impl Check {
    fn report(&mut self, object: Key, problem: impl Into<String>) {
        // The first thing that is wrong with an object explains the others.
        if self.defective.insert(object) {
            self.defects.push(Defect { object, problem: problem.into() });
        }
    }

    fn segment_key(&self, pos: WalPos) -> Key {
        Key::Segment { generation: self.generation, pos }
    }

    /// Checks an object alone, and returns its seal if it can be trusted.
    fn own(&mut self, key: Key, seals: &BTreeMap<Key, Found>) -> Option<Seal> {
        let seal = match seals.get(&key) {
            Some(Ok(Some(seal))) => seal,
            Some(Err(problem)) => {
                self.report(key, *problem);
                return None;
            }
            Some(Ok(None)) | None if self.sealed => {
                self.report(key, "it has no seal at its end: it was cut off, altered or replaced");
                return None;
            }
            Some(Ok(None)) | None => return None,
        };
        match misplaced(key, seal, self.page_size) {
            Some(problem) => {
                self.report(key, problem);
                None
            }
            None => Some(*seal),
        }
    }

    /// Checks that the oldest segments have a snapshot to be applied to, and that no segment is
    /// missing between the two.
    fn beginning(&mut self, snapshots: &[Snapshot], segments: &[Segment]) {
        let oldest = snapshots.first().map(|snapshot| snapshot.index);
        let Some(first) = segments.first().map(|segment| segment.pos) else { return };
        if oldest.is_none_or(|oldest| first.index < oldest) {
            let missing = Key::Snapshot { generation: self.generation, index: first.index };
            let follows = self.segment_key(first);
            self.report(missing, format!("it is missing: {follows} cannot be restored without it"));
        }
        // There may be a hole before a snapshot that begins anew, even if only a snapshot comes
        // before it.
        let earlier = snapshots.partition_point(|snapshot| snapshot.index <= first.index);
        let earlier = &snapshots[..earlier];
        let base = earlier.iter().rfind(|snapshot| snapshot.begins_anew()).or(earlier.first());
        let begin = WalPos::start_of(base.map_or(first.index, |base| base.index));
        if begin < first {
            self.missing(begin, first);
        }
    }

    fn missing(&mut self, pos: WalPos, next: WalPos) {
        let next = self.segment_key(next);
        self.report(self.segment_key(pos), format!("it is missing: the next one is {next}"));
    }

    /// Checks that nothing is between two segments, and that the one continues the other.
    fn neighbours(&mut self, one: &Segment, next: &Segment, snapshots: &[Snapshot]) {
        let between = one.pos.index.get() + 1..=next.pos.index.get();
        let is_between = |of: &&Snapshot| between.contains(&of.index.get());
        if let Some(snapshot) = snapshots.iter().filter(is_between).rfind(|of| of.begins_anew()) {
            // There may be a hole before this snapshot.
            let begin = WalPos::start_of(snapshot.index);
            if begin < next.pos {
                self.missing(begin, next.pos);
            }
            return;
        }
        let end = one.seal.map(|seal| seal.end);
        if one.pos.index == next.pos.index {
            match end {
                Some(end) if end < next.pos => return self.missing(end, next.pos),
                Some(end) if next.pos < end => {
                    let (key, before) = (self.segment_key(next.pos), self.segment_key(one.pos));
                    return self.report(key, format!("it begins before the end of {before}"));
                }
                _ => (),
            }
        } else if one.pos.index.next() != Some(next.pos.index) {
            return self.missing(WalPos::start_of(after(one.pos.index)), next.pos);
        } else if next.pos.offset > 0 {
            return self.missing(WalPos::start_of(next.pos.index), next.pos);
        }
        if let (Some(seal), Some(next_seal)) = (&one.seal, &next.seal)
            && seal.link() != next_seal.previous
        {
            let [key, before, between] =
                [next.pos, one.pos, seal.end].map(|pos| self.segment_key(pos));
            if are_rivals(seal, next_seal) {
                return self.report(key, Unlinked::undecided(seal).to_string());
            }
            let or = if one.pos.index == next.pos.index {
                String::new()
            } else {
                format!(", or {between} is missing")
            };
            let problem = format!(
                "it does not continue {before}: one of the two is not the one that belongs there{or}"
            );
            self.report(key, problem);
        }
    }

    /// Checks that a snapshot is at its place in the chain, and that the WAL that makes it
    /// consistent is there.
    fn snapshot(&mut self, snapshot: &Snapshot, segments: &[Segment]) {
        let Some(seal) = &snapshot.seal else { return };
        let key = Key::Snapshot { generation: self.generation, index: snapshot.index };
        let first = segments.partition_point(|segment| segment.pos.index < snapshot.index);
        let behind = segments.partition_point(|segment| segment.pos.index <= snapshot.index);
        let own = &segments[first..behind];
        let next = own.first().filter(|next| next.pos == seal.start);
        let before = first
            .checked_sub(1)
            .and_then(|at| segments.get(at))
            .filter(|before| before.pos.index.next() == Some(snapshot.index) && next.is_none())
            .filter(|_| seal.predecessor().is_some());
        let (next, before) = (next.and_then(|next| next.seal), before.and_then(|one| one.seal));
        let links = [next.map(|next| next.previous), before.map(|before| before.link())];
        if links.into_iter().flatten().any(|link| link != seal.previous) {
            self.report(key, "it does not belong to the segments around it");
        }
        let there = |at: &Seal| (at.end, at.salt) == (seal.end, seal.salt);
        for at in own.iter().filter_map(|segment| segment.seal).filter(there) {
            if at.digest != seal.digest {
                self.report(key, format!("it is not what {} leads to", self.segment_key(at.start)));
            }
        }
        self.completion(key, seal, own);
    }

    /// Checks that the predecessor of a snapshot is there, unless it has expired.
    fn predecessor(&mut self, snapshot: &Snapshot, snapshots: &[Snapshot]) {
        let Some(index) = snapshot.predecessor() else { return };
        let oldest = snapshots.first().map(|oldest| oldest.index);
        let expired = oldest.is_none_or(|oldest| index < oldest);
        if !expired && !snapshots.iter().any(|other| other.index == index) {
            let generation = self.generation;
            let [missing, follows] =
                [index, snapshot.index].map(|index| Key::Snapshot { generation, index });
            self.report(missing, format!("it is missing: {follows} was stored after it"));
        }
    }

    /// Checks that the WAL was stored up to the position at which the snapshot was copied.
    fn completion(&mut self, key: Key, snapshot: &Seal, own: &[Segment]) {
        let reached = match own.last() {
            // Without a valid seal nothing is known, and that was reported. A snapshot from the
            // end of another log is consistent by itself.
            Some(last) => last.seal.filter(|seal| seal.salt == snapshot.salt).map(|seal| seal.end),
            // Any snapshot but the first is stored after the WAL up to its end. Alone, each is
            // consistent: only if segments are applied to it must they reach its end.
            None => (WalIndex::default() < snapshot.start.index).then_some(snapshot.start),
        };
        if let Some(reached) = reached.filter(|reached| *reached < snapshot.end) {
            let problem =
                format!("it is missing: {key} needs the WAL up to {} to be whole", snapshot.end);
            self.report(self.segment_key(reached), problem);
        }
    }
}

/// Returns what is wrong with a seal that is itself unaltered, or `None` if nothing is.
fn misplaced(key: Key, seal: &Seal, page_size: Option<u32>) -> Option<String> {
    if !seal.is_of(key) {
        return Some(format!("it is another object: it was sealed as {}", seal.key()));
    }
    let ends_well = match seal.kind() {
        Kind::Snapshot => seal.start <= seal.end,
        Kind::Segment => seal.start < seal.end,
    };
    if !ends_well || seal.end.index != seal.start.index {
        return Some(format!("it cannot end at {}", seal.end));
    }
    let other = page_size.filter(|page_size| *page_size != seal.page_size)?;
    Some(format!("its pages have {} bytes, and others in its generation {other}", seal.page_size))
}

/// The index after `index`, which is not the last one: there is a later segment.
fn after(index: WalIndex) -> WalIndex {
    index.next().unwrap_or(WalIndex::MAX)
}
