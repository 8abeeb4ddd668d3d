//! Which objects of a replica have expired. Decided on listings alone.

#[cfg(test)]
mod simulation;

use std::time::{Duration, SystemTime};

use crate::format::{Generation, History, Key};

/// The objects that no moment since `now - retention` needs, in batches that must be deleted one
/// after another.
///
/// A moment needs the newest snapshot before it and everything after that, so the history reaches
/// back further than `retention`, never less. It also needs the generation that was the newest at
/// the time: one that has ended is kept until another had begun before all moments that count. The
/// `current` one has not ended, however long nothing was written, and whatever other generation has
/// begun.
///
/// Snapshots go first, then the later segments of each WAL, then the first ones: Litestream walks
/// over all WALs of a generation, and stops at one whose beginning is missing.
pub(super) fn expired(
    histories: &[History],
    current: Option<Generation>,
    now: SystemTime,
    retention: Duration,
) -> [Vec<Key>; 3] {
    let mut batches = [Vec::new(), Vec::new(), Vec::new()];
    let Some(horizon) = now.checked_sub(retention) else { return batches };
    for history in histories {
        let generation = history.generation;
        let old = |created: SystemTime| created <= horizon;
        let base = history.snapshots.iter().rfind(|snapshot| old(snapshot.created));
        let succeeded = current != Some(generation) && is_succeeded(history, histories, horizon);
        let unneeded = |index| succeeded || base.is_some_and(|base| index < base.index);
        for snapshot in history.snapshots.iter().filter(|snapshot| unneeded(snapshot.index)) {
            batches[0].push(Key::Snapshot { generation, index: snapshot.index });
        }
        for segment in history.segments.iter().filter(|segment| unneeded(segment.pos.index)) {
            let batch = if segment.pos.offset > 0 { 1 } else { 2 };
            batches[batch].push(Key::Segment { generation, pos: segment.pos });
        }
    }
    batches
}

/// The time from which the age of objects is counted: that of the newest one, unless the local
/// clock is behind it.
///
/// The times of objects are by the clock of the store. By another clock, which may be days ahead,
/// all history would expire at once. So while nothing is written, nothing gets older either.
pub(super) fn present(histories: &[History], now: SystemTime) -> SystemTime {
    let newest = histories.iter().filter_map(History::created).map(|(_, newest)| newest).max();
    newest.map_or(now, |newest| newest.min(now))
}

/// Whether another generation had begun after this one ended, and before `horizon`.
fn is_succeeded(history: &History, histories: &[History], horizon: SystemTime) -> bool {
    let Some((_, last)) = history.created() else { return false };
    histories.iter().filter(|other| other.generation != history.generation).any(|other| {
        let first = other.snapshots.first().map(|snapshot| snapshot.created);
        first.is_some_and(|first| last < first && first <= horizon)
    })
}

/// Whether the newest snapshot is older than `retention`: without another one history would grow
/// without end.
pub(super) fn needs_snapshot(history: &History, now: SystemTime, retention: Duration) -> bool {
    let newest = history.snapshots.last().map(|snapshot| snapshot.created);
    newest.is_some_and(|created| now.duration_since(created).is_ok_and(|age| age >= retention))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_secs(100);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn check(histories: &[History], now: u64, expected: &[&str]) {
        let batches = expired(histories, None, at(now), RETENTION);
        let names: Vec<String> = batches
            .iter()
            .flatten()
            .map(|key| key.to_string().replace("generations/000000000000000", ""))
            .collect();
        assert_eq!(names, expected, "now={now}");
    }

    #[test]
    fn keeps_the_snapshot_that_the_oldest_moment_needs() {
        let histories = [History::of_names(
            1,
            &[
                "00000000@0",
                "00000000_00000000@1",
                "00000000_00001038@2",
                "00000001@50",
                "00000001_00000000@51",
                "00000002@90",
                "00000002_00000000@95",
            ],
        )];
        check(&histories, 149, &[]);
        check(
            &histories,
            150,
            &[
                "1/snapshots/00000000.snapshot.lz4",
                "1/wal/00000000_00001038.wal.lz4",
                "1/wal/00000000_00000000.wal.lz4",
            ],
        );
    }

    #[test]
    fn never_deletes_the_last_snapshot_however_old() {
        check(&[History::of_names(1, &["00000000@0", "00000000_00000000@1"])], 1_000_000, &[]);
    }

    #[test]
    fn keeps_a_generation_until_another_covers_every_moment() {
        let histories = [
            History::of_names(1, &["00000000@0", "00000000_00000000@40"]),
            History::of_names(2, &["00000000@50"]),
        ];
        check(&histories, 149, &[]);
        check(
            &histories,
            150,
            &["1/snapshots/00000000.snapshot.lz4", "1/wal/00000000_00000000.wal.lz4"],
        );
        // Two daemons at once: neither generation ended before the other began.
        let histories = [
            History::of_names(1, &["00000000@0", "00000000_00000000@60"]),
            History::of_names(2, &["00000000@50"]),
        ];
        check(&histories, 1000, &[]);
    }

    /// A database to which nothing was written for days, and a stray daemon that began another
    /// generation beside it: the next segment must not be the only object of its generation.
    #[test]
    fn never_deletes_the_current_generation() {
        let histories =
            [History::of_names(1, &["00000000@0"]), History::of_names(2, &["00000000@50"])];
        let current = Some(histories[0].generation);
        assert_eq!(expired(&histories, current, at(1000), RETENTION), [const { Vec::new() }; 3]);
        assert_eq!(expired(&histories, None, at(1000), RETENTION)[0].len(), 1);
    }

    #[test]
    fn a_clock_that_is_ahead_of_the_store_lets_nothing_expire() {
        let histories =
            [History::of_names(1, &["00000000@0", "00000001@90", "00000001_00000000@95"])];
        assert_eq!(present(&histories, at(10_000)), at(95));
        assert_eq!(present(&histories, at(94)), at(94));
        assert_eq!(present(&[], at(7)), at(7));
        check(&histories, 95, &[]);
    }

    #[test]
    fn wants_a_snapshot_when_the_newest_has_expired() {
        let history = History::of_names(1, &["00000000@0", "00000001@10"]);
        assert!(!needs_snapshot(&history, at(109), RETENTION));
        assert!(needs_snapshot(&history, at(110), RETENTION));
    }
}
