//! Looks at the log, and keeps our read transaction at its end.

use std::time::{Duration, Instant};

use super::{Standing, Tail};
use crate::replicate::capture::Look;

/// How soon, and at the latest, it is looked again whether a log was copied.
const COPY_LOOK_MIN: Duration = Duration::from_millis(4);
const COPY_LOOK_MAX: Duration = Duration::from_secs(1);

impl Tail {
    /// Cuts what was committed since the last segment. `None` if there is nothing to capture it
    /// for.
    pub(super) fn look(&mut self) -> anyhow::Result<Option<Look>> {
        let staging = self.staging(|standing| standing != Standing::Outside);
        let is_fixed = self.is_fixed();
        let (Some(database), Some(capture)) = (&mut self.database, &mut self.capture) else {
            return Ok(None);
        };
        if is_fixed {
            return capture.cut(database, &self.state, &staging).map(Some);
        }
        // As long as nothing can have been copied that is not captured yet.
        capture.note_write(database.file())?;
        let mut look = Look::default();
        let moved = database.keep_up(|database| {
            capture.reading_anew();
            look = capture.cut(database, &self.state, &staging)?;
            Ok(capture.is_seen_to_its_end())
        })?;
        match moved {
            Some(reading) if reading.complete => capture.drained(),
            Some(reading) => capture.followed(reading.end),
            None => (),
        }
        Ok(Some(look))
    }

    /// Gets out of the way of those who want all of the log to be copied, or to restart it: lets
    /// go of what is captured, and of the log when all of it is in the database file. `changed`:
    /// somebody may have copied it, or is about to. Who has done so says it in shared memory, and
    /// nobody tells us: then it is looked at again after a while.
    pub(super) fn step_aside(&mut self, changed: bool, now: Instant) -> anyhow::Result<()> {
        let waited = self.schedule.until_copied.take();
        let may_be_copied = changed || waited.is_some();
        let (is_fixed, capture) = (self.is_fixed(), self.capture.as_ref());
        let Some(database) = self.database.as_mut().filter(|_| !is_fixed) else { return Ok(()) };
        let is_done = match capture {
            None if may_be_copied => {
                (database.is_aside() && database.is_copied()?)
                    || database.keep_up(|_| Ok(true))?.is_some_and(|reading| reading.complete)
            }
            Some(capture) => {
                let is_at_end = capture.is_held_at_cursor();
                let is_open = is_at_end && may_be_copied && !database.is_aside();
                // The next segment does it, if there will be one.
                let is_behind = !is_at_end && !self.schedule.changed;
                if is_behind || (is_open && database.is_copied()?) {
                    return self.cut(now).map(drop);
                }
                // While something is written, nobody can be waiting for the log to end.
                !is_open || database.committed_bytes()? > capture.log_read().1
            }
            None => true,
        };
        let next = waited.map_or(COPY_LOOK_MIN, |waited| 2 * waited);
        self.schedule.until_copied = (!is_done && next <= COPY_LOOK_MAX).then_some(next);
        Ok(())
    }

    /// Whether our read transaction is to stay as it is: a snapshot needs it, or it ends soon, when
    /// that of many databases do at once, and files are short.
    fn is_fixed(&self) -> bool {
        self.is_storing() || self.stopping.is_some()
    }

    /// Whether a snapshot of the database, as our read transaction keeps it, is being stored.
    pub(super) fn is_storing(&self) -> bool {
        self.slots.iter().any(|slot| slot.storing)
    }
}
