use std::time::{Duration, Instant};

/// How long to keep watching a checkpoint of another process: it waits for the disk.
const WATCHED_MAX: Duration = Duration::from_secs(30);

/// How long to let a checkpoint wait before our read transaction ends for it. It tries again ten
/// times a second, so one that we are not in the way of has gone on by then.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whether another process is in a checkpoint that waits for our read transaction to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkpointer {
    /// There is no checkpoint that wants all of the log.
    Absent,
    /// There is none, but the log has grown since the last look: a checkpoint may follow the
    /// commit.
    Expected,
    /// There seems to be one, but the log has grown since the last look: one connection may be
    /// writing while another copies the log, with neither waiting.
    Arriving,
    Waiting,
}

impl Checkpointer {
    /// Judges what was found. `has_locks`: another process has the locks of such a checkpoint.
    /// `has_grown`: the log has grown since the last look.
    pub(super) fn of(has_locks: bool, has_grown: bool) -> Self {
        match (has_locks, has_grown) {
            (false, false) => Self::Absent,
            (false, true) => Self::Expected,
            (true, true) => Self::Arriving,
            (true, false) => Self::Waiting,
        }
    }
}

/// How far the log is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// There is nothing to capture the log for.
    Nowhere,
    /// Up to some place, but it is not yet known that nothing before it was missed. Until then our
    /// read transaction stays where it is.
    Unproven,
    /// Not all of it: the next segment is made of the rest.
    Part,
    All,
}

/// What becomes of our read transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Stay,
    /// It goes on at the end of the log, with no moment without one.
    On,
    /// It ends, and another begins once the checkpoint has passed.
    Out,
}

impl Reach {
    /// Where to move our read transaction for a checkpointer that has been seen for `seen_for`.
    /// `is_at_rest`: moving it on would change nothing. `may_hurry`: a segment may be cut before it
    /// is due.
    pub(super) fn way(
        self,
        other: Checkpointer,
        seen_for: Duration,
        is_at_rest: bool,
        may_hurry: bool,
    ) -> Move {
        let is_waiting = other == Checkpointer::Waiting;
        let moves = match self {
            Self::Nowhere => !is_at_rest,
            Self::Unproven => false,
            // Cutting the next segment moves it, unless a checkpointer is waiting for that now.
            Self::Part => is_waiting && may_hurry,
            Self::All if is_waiting && is_at_rest && seen_for >= PATIENCE => return Move::Out,
            Self::All => is_waiting || !is_at_rest,
        };
        if moves { Move::On } else { Move::Stay }
    }
}

/// Returns the time to count from: the next look comes when as much time again has passed. `None`:
/// there is nothing to see before the log changes. `since`: what this returned last, or now.
///
/// `was_cut_for`: a segment was just cut for the checkpointer. `is_uncut`: the log has something
/// that is to be cut later; until then, nothing notifies us that a checkpointer has come to wait
/// for it. `is_in_the_way`: our read transaction may be in the way of one.
pub(super) fn look_again(
    other: Checkpointer,
    since: Instant,
    now: Instant,
    Facts { was_cut_for, is_uncut, is_in_the_way }: Facts,
) -> Option<Instant> {
    let since = if was_cut_for || other == Checkpointer::Arriving { now } else { since };
    let may_see_more = other != Checkpointer::Absent && is_in_the_way && now - since <= WATCHED_MAX;
    (is_uncut || may_see_more).then_some(since)
}

/// What [`look_again`] goes by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) was_cut_for: bool,
    pub(super) is_uncut: bool,
    pub(super) is_in_the_way: bool,
}

#[cfg(test)]
mod tests {
    use super::Checkpointer::{Absent, Arriving, Expected, Waiting};
    use super::*;

    #[test]
    fn waits_if_it_has_its_locks_and_nobody_commits() {
        let found = [(false, false), (false, true), (true, true), (true, false)];
        let found = found.map(|(has_locks, has_grown)| Checkpointer::of(has_locks, has_grown));
        assert_eq!(found, [Absent, Expected, Arriving, Waiting]);
    }

    #[test]
    fn a_segment_is_cut_early_only_for_one_that_waits() {
        let moves = |moves: bool| if moves { Move::On } else { Move::Stay };
        for other in [Absent, Expected, Arriving, Waiting] {
            for is_at_rest in [false, true] {
                for may_hurry in [false, true] {
                    let way =
                        |reach: Reach| reach.way(other, Duration::ZERO, is_at_rest, may_hurry);
                    let is_waiting = other == Waiting;
                    assert_eq!(way(Reach::Nowhere), moves(!is_at_rest));
                    assert_eq!(way(Reach::Unproven), Move::Stay);
                    assert_eq!(way(Reach::Part), moves(is_waiting && may_hurry));
                    assert_eq!(way(Reach::All), moves(is_waiting || !is_at_rest));
                }
            }
        }
    }

    #[test]
    fn our_transaction_ends_only_for_one_that_waits_though_all_is_captured() {
        for reach in [Reach::Nowhere, Reach::Unproven, Reach::Part, Reach::All] {
            for other in [Absent, Expected, Arriving, Waiting] {
                for is_at_rest in [false, true] {
                    let way = reach.way(other, PATIENCE, is_at_rest, true);
                    let is_stuck = reach == Reach::All && other == Waiting && is_at_rest;
                    assert_eq!(way == Move::Out, is_stuck, "{reach:?} {other:?} {is_at_rest}");
                }
            }
        }
    }

    #[test]
    fn is_looked_for_while_it_may_come_and_no_longer() {
        let since = Instant::now();
        let [soon, late] = [1, 31].map(|seconds| since + Duration::from_secs(seconds));
        let (clear, uncut) = (Facts::default(), Facts { is_uncut: true, ..Facts::default() });
        let in_the_way = Facts { is_in_the_way: true, ..clear };
        let cut = Facts { was_cut_for: true, ..in_the_way };
        for (other, now, facts, expected) in [
            (Absent, soon, in_the_way, None),
            (Absent, late, uncut, Some(since)),
            (Expected, soon, clear, None),
            (Expected, soon, in_the_way, Some(since)),
            (Expected, late, in_the_way, None),
            (Arriving, late, in_the_way, Some(late)),
            (Waiting, soon, in_the_way, Some(since)),
            (Waiting, late, in_the_way, None),
            (Waiting, late, cut, Some(late)),
            (Waiting, late, uncut, Some(since)),
        ] {
            assert_eq!(look_again(other, since, now, facts), expected, "{other:?} {facts:?}");
        }
    }
}
