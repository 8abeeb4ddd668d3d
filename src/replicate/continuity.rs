//! May we go on where we stopped reading, or was something missed? Decided on values alone.

#[cfg(test)]
mod model;
#[cfg(test)]
mod simulation;

use std::fmt;

use super::cursor::Place;
use crate::wal::Salt;

/// The log as it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No log, or one without a header.
    Nothing,
    Log {
        salt: Salt,
        /// The sequence number in its header, which belongs to the connection that wrote it.
        sequence: u32,
        /// The frame before the cursor still carries the checksum that it had.
        holds_cursor: bool,
    },
}

/// How the log that is found relates to what was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// The same log, at least as long, or an empty one: go on from the cursor.
    Same,
    /// A new log, and the old one was read to its end: go on with the next index.
    Next,
    /// Frames may have been missed.
    Broken(Break),
}

/// Why continuity was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    Unwatched,
    LogGone,
    FrameOverwritten,
    LogRestarted,
    LogReplaced,
    Unfinished,
    FrameAltered,
    IndexesUsedUp,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unwatched => "nobody watched the log since the last stop",
            Self::LogGone => "the log is gone",
            Self::FrameOverwritten => "the last frame that was read is not there any more",
            Self::LogRestarted => "the log was restarted by another process",
            Self::LogReplaced => "the log was replaced by another one",
            Self::Unfinished => "the log was restarted after a segment of it could not be finished",
            Self::IndexesUsedUp => "the generation has no more indexes for its logs",
            Self::FrameAltered => {
                "the checksums of the log do not hold: the disk, or another program, has damaged \
                 the database; or an older version of SQLite (as 3.40) wrote it so, after a large \
                 transaction with a ROLLBACK TO"
            }
        })
    }
}

impl std::error::Error for Break {}

/// As many restarts between two looks at a log do not happen: it is another log, or an older one.
/// An application that empties its empty log once a second comes to 65,536 in a day, and to this in
/// half a year.
const RESTARTS_MAX: u32 = 1 << 24;

/// The sequence number of a connection that never restarted a log. If such a connection is the
/// first to write to an empty log, SQLite makes up a new salt instead of counting up the old one.
const SEQUENCE_FIRST: u32 = 0;

/// Judges whether the log that is found continues what was read.
///
/// `held` means that our read transaction began when the cursor was at the end of the log and
/// nobody could write; or that it took the place of such a transaction, before that ended, and the
/// log was read to its end in between. Since then no frame can have been lost: a log is restarted
/// only when all of it is in the database file, and what was written after the transaction began
/// cannot be copied there while it lasts. So a new log can only have begun after the cursor. `held`
/// is never true after a stop.
pub(super) fn continuity(place: Place, held: bool, found: Found) -> Continuity {
    match (place, found) {
        _ if !held && place == Place::Start => Continuity::Broken(Break::Unwatched),
        (Place::Start, _) => Continuity::Same,
        (Place::Within { .. }, Found::Nothing) if held => Continuity::Same,
        (Place::Within { .. }, Found::Nothing) => Continuity::Broken(Break::LogGone),
        (Place::Within { salt, .. }, Found::Log { salt: found, holds_cursor, .. })
            if salt == found =>
        {
            if holds_cursor {
                Continuity::Same
            } else {
                Continuity::Broken(Break::FrameOverwritten)
            }
        }
        (Place::Within { .. }, Found::Log { .. }) if !held => {
            Continuity::Broken(Break::LogRestarted)
        }
        (Place::Within { .. }, Found::Log { sequence: SEQUENCE_FIRST, .. }) => Continuity::Next,
        (Place::Within { salt, .. }, Found::Log { salt: found, .. }) => {
            match salt.restarts_until(found) {
                1..RESTARTS_MAX => Continuity::Next,
                _ => Continuity::Broken(Break::LogReplaced),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::Checksum;

    const OLD: Salt = Salt([0, 0, 0, 9, 1, 1, 1, 1]);

    fn check(place: Place, held: bool, found: Found, expected: Continuity) {
        assert_eq!(continuity(place, held, found), expected, "{place:?} held={held} {found:?}");
    }

    #[test]
    fn goes_on_only_when_nothing_can_have_been_missed() {
        use Break::{FrameOverwritten, LogGone, LogReplaced, LogRestarted, Unwatched};
        use Continuity::{Broken, Next, Same};
        let within = Place::Within { salt: OLD, offset: 32, checksum: Checksum::default() };
        let log = |salt, holds_cursor| Found::Log { salt, sequence: 3, holds_cursor };
        let foreign = Salt([0xf9, 9, 9, 9, 1, 1, 1, 1]);

        check(Place::Start, true, Found::Nothing, Same);
        check(Place::Start, true, log(foreign, false), Same);
        check(Place::Start, false, Found::Nothing, Broken(Unwatched));
        check(Place::Start, false, log(OLD, true), Broken(Unwatched));

        check(within, true, log(OLD, true), Same);
        check(within, false, log(OLD, true), Same);
        check(within, true, log(OLD, false), Broken(FrameOverwritten));
        check(within, false, log(OLD, false), Broken(FrameOverwritten));

        check(within, true, Found::Nothing, Same);
        check(within, false, Found::Nothing, Broken(LogGone));

        check(within, true, log(OLD.next(5), false), Next);
        check(within, true, log(OLD.next(5).next(6), false), Next);
        // An application empties its empty log once a second, for days.
        check(within, true, log(Salt([0, 9, 9, 9, 1, 1, 1, 1]), false), Next);
        check(within, false, log(OLD.next(5), false), Broken(LogRestarted));
        check(within, true, log(foreign, false), Broken(LogReplaced));

        // An application emptied the log, and the next to write was a new connection of another
        // application.
        let by_newcomer = Found::Log { salt: foreign, sequence: 0, holds_cursor: false };
        check(within, true, by_newcomer, Next);
        check(within, false, by_newcomer, Broken(LogRestarted));
    }
}
