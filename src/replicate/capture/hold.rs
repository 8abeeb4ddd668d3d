//! What our read transaction keeps from being lost.

use super::{Capture, Evidence, Hold};
use crate::replicate::cursor::Place;
use crate::wal::Salt;

impl Capture {
    /// Whether our read transaction may be moved while others write. Before that is so, what was
    /// committed while nobody watched may be lost from the log at any time.
    pub(in crate::replicate) fn is_watched(&self) -> bool {
        self.hold != Hold::Loose
    }

    pub(in crate::replicate) fn is_held(&self) -> bool {
        self.hold == Hold::Held
    }

    /// Whether our read transaction keeps what is behind the cursor, and for certain nothing before
    /// it.
    pub(in crate::replicate) fn is_held_at_cursor(&self) -> bool {
        self.is_held() && self.held_end == self.log_end()
    }

    pub(in crate::replicate) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Pages of the log that may be missing in the database file.
    pub(in crate::replicate) fn undrained_pages(&self) -> u64 {
        self.undrained_bytes() / self.cursor.page_size.frame_bytes()
    }

    /// How far, from its start, the log was read that may be missing there.
    pub(in crate::replicate) fn undrained_bytes(&self) -> u64 {
        if self.drained { 0 } else { self.log_read().1 }
    }

    /// Takes note that our read transaction ended, and with it what it held.
    pub(in crate::replicate) fn released(&mut self) {
        self.hold = Hold::Loose;
        self.drained = false;
        self.reading_anew();
    }

    /// Takes note that another read transaction of ours began, while others may write, and is to
    /// take the place of the one that we have.
    pub(in crate::replicate) fn reading_anew(&mut self) {
        if self.evidence == Evidence::SeenToItsEnd {
            self.evidence = Evidence::Seen;
        }
    }

    /// Whether the log was read to its end since then.
    pub(in crate::replicate) fn is_seen_to_its_end(&self) -> bool {
        self.evidence == Evidence::SeenToItsEnd
    }

    /// Takes note that our read transaction began when the log ended at `end` or behind that,
    /// before another one ended by which it was watched, and that it was read to its end since.
    /// What came in between cannot be lost either.
    pub(in crate::replicate) fn followed(&mut self, end: u64) {
        self.hold = Hold::Held;
        self.held_end = self.log_end().map(|(salt, cursor)| (salt, cursor.min(end)));
    }

    /// Takes note that our read transaction began at the cursor, while nobody could write.
    pub(in crate::replicate) fn advanced(&mut self) {
        self.hold = Hold::Held;
        self.held_end = self.log_end();
    }

    /// Where in which log the cursor is.
    fn log_end(&self) -> Option<(Salt, u64)> {
        match self.cursor.place {
            Place::Start => None,
            Place::Within { salt, offset, .. } => Some((salt, offset)),
        }
    }

    /// Takes note of a complete checkpoint during which the log was read to its end.
    pub(in crate::replicate) fn drained(&mut self) {
        self.advanced();
        self.drained = true;
        self.earlier.begin();
    }
}
