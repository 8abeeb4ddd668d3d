//! What our read transaction keeps from being lost, as noted by the tail.

use super::Capture;

impl Capture {
    pub(in crate::replicate) fn is_watched(&self) -> bool {
        self.hold.is_watched()
    }

    pub(in crate::replicate) fn is_held(&self) -> bool {
        self.hold.is_held()
    }

    pub(in crate::replicate) fn is_held_at_cursor(&self) -> bool {
        self.hold.is_held_at(self.cursor.place)
    }

    pub(in crate::replicate) fn is_drained(&self) -> bool {
        self.hold.is_drained()
    }

    /// Pages of the log that may be missing from the database file.
    pub(in crate::replicate) fn undrained_pages(&self) -> u64 {
        self.undrained_bytes() / self.cursor.page_size.frame_bytes()
    }

    /// Bytes of the log, from its start, that were read and may be missing from the database file.
    pub(in crate::replicate) fn undrained_bytes(&self) -> u64 {
        if self.is_drained() { 0 } else { self.log_read().1 }
    }

    /// Whether a snapshot contains part of the log, and needs all of that log, frame by frame: its
    /// seal says at which frame it was made.
    pub(super) fn owes_log(&self) -> bool {
        self.cursor.place == super::Place::Start && self.hold.has_log()
    }

    pub(in crate::replicate) fn note_released(&mut self) {
        self.hold.note_released();
    }

    pub(in crate::replicate) fn note_next_reader(&mut self) {
        self.hold.note_next_reader();
    }

    pub(in crate::replicate) fn is_seen_to_its_end(&self) -> bool {
        self.hold.is_seen_to_its_end()
    }

    pub(in crate::replicate) fn note_seen_to_its_end(&mut self) {
        self.hold.note_seen_to_its_end();
    }

    pub(in crate::replicate) fn note_followed(&mut self, end: u64) {
        self.hold.note_followed(self.cursor.place, end);
    }

    pub(in crate::replicate) fn note_advanced(&mut self) {
        self.hold.note_advanced(self.cursor.place);
    }

    /// Notes a complete checkpoint during which the log was read to its end.
    pub(in crate::replicate) fn note_drained(&mut self) {
        self.hold.note_drained(self.cursor.place);
        self.earlier.begin();
    }
}
