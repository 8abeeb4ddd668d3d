//! What of the log our read transaction keeps from being lost. Decided on values alone.

use super::cursor::Place;
use crate::wal::Salt;

/// What is known of the log from our read transactions: what may be lost of it, what is in the
/// database file, and what was seen. It knows of an event only once a `note_…` method was called
/// for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    strength: Strength,
    /// Where the log ended when our read transaction began, or an earlier place in it. `None`: no
    /// log had begun.
    end: Option<(Salt, u64)>,
    /// Nothing of the log up to the cursor is missing from the database file.
    drained: bool,
    evidence: Evidence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    /// What was committed while nobody watched may be lost from the log at any time.
    Loose,
    /// All of the log was captured once, and there has been no moment without a read transaction
    /// since: nothing after the cursor can be lost.
    Watched,
    /// As `Watched`, and our read transaction began where the cursor is: see
    /// [`continuity`](super::continuity::continuity).
    Held,
}

/// How we know what is before the cursor in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// From an earlier process. A loss of power may have left the end of the log, and not all of
    /// what was before it.
    Hearsay,
    Seen,
    /// As `Seen`, and the log was captured to its end since our read transaction began, which keeps
    /// what is after the cursor out of the database file.
    SeenToItsEnd,
}

impl Hold {
    /// The hold of a generation that begins. `end` is where the log ended when our read transaction
    /// began, while nobody could write.
    pub(super) fn begin(end: Option<(Salt, u64)>) -> Self {
        Self { strength: Strength::Held, end, drained: false, evidence: Evidence::Seen }
    }

    /// The hold of a generation that an earlier process left.
    pub(super) fn resume() -> Self {
        Self { strength: Strength::Loose, end: None, drained: false, evidence: Evidence::Hearsay }
    }

    /// Whether our read transaction may be moved while others write. Until then, what was committed
    /// while nobody watched may be lost from the log at any time.
    pub(super) fn is_watched(&self) -> bool {
        self.strength != Strength::Loose
    }

    /// Whether nothing after the cursor can have been lost since our read transaction began.
    pub(super) fn is_held(&self) -> bool {
        self.strength == Strength::Held
    }

    /// Whether our read transaction keeps what is after the cursor, and certainly nothing before
    /// it.
    pub(super) fn is_held_at(&self, cursor: Place) -> bool {
        self.is_held() && self.end == log_end(cursor)
    }

    /// Whether nothing of the log up to the cursor is missing from the database file.
    pub(super) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Whether there was a log when our read transaction began.
    pub(super) fn has_log(&self) -> bool {
        self.end.is_some()
    }

    /// Whether the log has not been compared with the cursor since an earlier process wrote the
    /// cursor.
    pub(super) fn is_hearsay(&self) -> bool {
        self.evidence == Evidence::Hearsay
    }

    /// Whether the log was captured to its end since our read transaction began.
    pub(super) fn is_seen_to_its_end(&self) -> bool {
        self.evidence == Evidence::SeenToItsEnd
    }

    /// The log was compared with the cursor.
    pub(super) fn note_compared(&mut self) {
        if self.evidence == Evidence::Hearsay {
            self.evidence = Evidence::Seen;
        }
    }

    /// The log was captured to its end.
    pub(super) fn note_seen_to_its_end(&mut self) {
        self.evidence = Evidence::SeenToItsEnd;
    }

    /// With our read transaction begun, everything committed so far was captured, and the log was
    /// still the one that has the cursor after we asked how much is committed. From then on nothing
    /// is lost: what is committed later cannot be copied while the transaction lasts, so the log
    /// cannot be restarted.
    pub(super) fn note_caught_up(&mut self) {
        self.strength = self.strength.max(Strength::Watched);
    }

    /// Our read transaction ended, and keeps nothing any more.
    pub(super) fn note_released(&mut self) {
        self.strength = Strength::Loose;
        self.drained = false;
        self.note_next_reader();
    }

    /// Another read transaction of ours began, while others may write, and is to take the place of
    /// the current one.
    pub(super) fn note_next_reader(&mut self) {
        if self.evidence == Evidence::SeenToItsEnd {
            self.evidence = Evidence::Seen;
        }
    }

    /// Our read transaction began when the log ended at `end` or later, before the one that had
    /// kept the log until then ended. Since then the log was captured to its end, the cursor. What
    /// was committed in between cannot be lost either.
    pub(super) fn note_followed(&mut self, cursor: Place, end: u64) {
        self.strength = Strength::Held;
        self.end = log_end(cursor).map(|(salt, offset)| (salt, offset.min(end)));
    }

    /// Our read transaction began at the cursor, while nobody could write.
    pub(super) fn note_advanced(&mut self, cursor: Place) {
        self.strength = Strength::Held;
        self.end = log_end(cursor);
    }

    /// As [`Hold::note_advanced`], and all of the log was copied into the database file before.
    pub(super) fn note_drained(&mut self, cursor: Place) {
        self.note_advanced(cursor);
        self.drained = true;
    }

    /// A segment was cut, up to the new cursor.
    pub(super) fn note_cut(&mut self, cursor: Place) {
        if self.end != log_end(cursor) {
            self.strength = self.strength.min(Strength::Watched);
            self.drained = false;
        }
    }

    /// The cursor is at the start of another log.
    pub(super) fn note_next_log(&mut self) {
        self.end = None;
    }
}

/// The log that the cursor is in, by its salt, and the offset there.
fn log_end(cursor: Place) -> Option<(Salt, u64)> {
    match cursor {
        Place::Start => None,
        Place::Within { salt, offset, .. } => Some((salt, offset)),
    }
}
