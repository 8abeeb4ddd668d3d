//! Decides what a validation must read, by listings alone.

use crate::format::{History, Segment, WalIndex, WalPos};

/// What has to be proven since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// Whether a proven object is missing or changed and has not expired, or the added objects do
    /// not follow the proven ones.
    pub(super) altered: bool,
    /// The segments that were added to the generation.
    pub(super) segments: Vec<Segment>,
    /// Why everything must be restored besides, if it must.
    pub(super) restore: Option<&'static str>,
}

/// What to read once everything in `proven` is proven, which leads up to `end`.
pub(super) fn course(proven: &History, end: WalPos, listed: &[History]) -> Course {
    let same = |history: &&History| history.generation == proven.generation;
    let Some(now) = listed.iter().find(same) else {
        return Course { restore: Some("the generation has expired"), ..Course::default() };
    };
    let oldest = now.snapshots.first().map(|snapshot| snapshot.index);
    let expired = |index: WalIndex| oldest.is_none_or(|oldest| index < oldest);
    let newest = |history: &History| history.snapshots.last().map(|snapshot| snapshot.index);
    let mut altered = is_altered(proven, now, expired);
    let mut segments: Vec<Segment> = if expired(end.index) {
        Vec::new()
    } else {
        now.segments.iter().filter(|segment| segment.pos >= end).copied().collect()
    };
    let begins = |pos| pos == end || Some(pos) == end.index.next().map(WalPos::start_of);
    if newest(proven) < newest(now) && segments.first().is_some_and(|first| !begins(first.pos)) {
        // A snapshot may begin anew after a hole, if its seal says so.
        altered = true;
        segments.clear();
    }
    let restore = if !History::latest(listed).as_ref().is_some_and(same) {
        Some("there is another generation")
    } else if altered {
        Some("objects that were proven have changed")
    } else if newest(proven) < newest(now) {
        Some("there is another snapshot")
    } else {
        None
    };
    Course { altered, segments, restore }
}

/// The part of a history before `end`, with all its snapshots.
pub(super) fn until(history: &History, end: WalPos) -> History {
    let segments = history.segments.iter().filter(|segment| segment.pos < end);
    History { segments: segments.copied().collect(), ..history.clone() }
}

fn is_altered(proven: &History, now: &History, expired: impl Fn(WalIndex) -> bool) -> bool {
    let snapshot_is_there = |snapshot| now.snapshots.contains(snapshot);
    let segment_is_there = |segment: &Segment| {
        let found = now.segments.binary_search_by_key(&segment.pos, |segment| segment.pos);
        found.is_ok_and(|at| now.segments[at] == *segment)
    };
    let gone = |index, there: bool| !there && !expired(index);
    proven.snapshots.iter().any(|snapshot| gone(snapshot.index, snapshot_is_there(snapshot)))
        || proven.segments.iter().any(|segment| gone(segment.pos.index, segment_is_there(segment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVEN: [&str; 4] =
        ["00000000@0", "00000000_00000000@1", "00000001@2", "00000001_00000000@3"];

    /// The positions to read, whether something is altered, and whether to restore.
    fn check(listed: &[History], expected: (&[&str], bool, bool)) {
        let end = "00000001_00001038".parse().unwrap();
        let course = course(&History::of_names(1, &PROVEN), end, listed);
        let read: Vec<String> =
            course.segments.iter().map(|segment| segment.pos.to_string()).collect();
        let read: Vec<&str> = read.iter().map(String::as_str).collect();
        assert_eq!((read.as_slice(), course.altered, course.restore.is_some()), expected);
    }

    fn with(others: &[&'static str]) -> History {
        History::of_names(1, &[&PROVEN[..], others].concat())
    }

    #[test]
    fn reads_only_what_was_added() {
        check(&[with(&[])], (&[], false, false));
        let added = ["00000001_00001038@4", "00000002_00000000@5"];
        let names = ["00000001_00001038", "00000002_00000000"];
        check(&[with(&added)], (&names, false, false));
        check(&[with(&["00000002@4"])], (&[], false, true));
        let both = [added[0], added[1], "00000002@6"];
        check(&[with(&both)], (&names, false, true));
    }

    #[test]
    fn restores_from_another_generation_after_the_rest_of_the_old_one() {
        let other = History::of_names(2, &["00000000@9"]);
        let old = with(&["00000001_00001038@4"]);
        check(&[old, other.clone()], (&["00000001_00001038"], false, true));
        check(&[other], (&[], false, true));
        check(&[], (&[], false, true));
    }

    #[test]
    fn knows_what_has_expired_from_what_is_missing() {
        check(&[History::of_names(1, &PROVEN[2..])], (&[], false, false));
        check(&[History::of_names(1, &PROVEN[1..])], (&[], false, false));
        check(&[History::of_names(1, &PROVEN[..3])], (&[], true, true));
        check(&[History::of_names(1, &[PROVEN[0], PROVEN[2], PROVEN[3]])], (&[], true, true));
        let replaced = [PROVEN[0], PROVEN[1], PROVEN[2], "00000001_00000000@7"];
        check(&[History::of_names(1, &replaced)], (&[], true, true));
        let overtaken = History::of_names(1, &["00000004@9", "00000004_00000000@9"]);
        check(&[overtaken], (&[], false, true));
        let behind_a_hole = ["00000004@9", "00000004_00000000@9"];
        check(&[with(&behind_a_hole)], (&[], true, true));
        check(&[with(&behind_a_hole[1..])], (&["00000004_00000000"], false, false));
        check(&[History::of_names(1, &["00000001_00001038@4"])], (&[], false, true));
    }
}
