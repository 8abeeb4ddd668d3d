//! Looks at the log, and keeps our read transaction at its end.

use std::time::{Duration, Instant};

use super::{Standing, Tail};
use crate::replicate::capture::Look;

/// How long it is looked whether a log that is being copied was. Its copier waits for the disk.
const COPY_MAX: Duration = Duration::from_secs(30);

impl Tail {
    /// Cuts what was committed since the last segment. `None` if there is nothing to capture it
    /// for.
    pub(super) fn look(&mut self) -> anyhow::Result<Option<Look>> {
        let staging = self.staging(|standing| standing != Standing::Outside);
        let is_fixed = self.is_fixed();
        if let (Some(database), Some(capture), false) =
            (&self.database, &mut self.capture, is_fixed)
        {
            // As long as nothing can have been copied that is not captured yet.
            let fate = capture.note_write(database.file())?;
            self.expect_no_older_copy(fate)?;
        }
        let (Some(database), Some(capture)) = (&mut self.database, &mut self.capture) else {
            return Ok(None);
        };
        if is_fixed || !capture.is_watched() {
            return capture.cut(database, &self.state, &staging).map(Some);
        }
        let mut look = Look::default();
        let moved = database.keep_up(|database| {
            capture.note_next_reader();
            look = capture.cut(database, &self.state, &staging)?;
            Ok(capture.is_seen_to_its_end())
        })?;
        match moved {
            Some(reading) if reading.complete => capture.note_drained(),
            Some(reading) => capture.note_followed(reading.end),
            None => (),
        }
        Ok(Some(look))
    }

    /// Gets out of the way of those who want all of the log to be copied, or to restart it: lets
    /// go of what is captured, and of the log when all of it is in the database file. `changed`:
    /// somebody may have copied it, or is about to. Who has done so says it in shared memory, and
    /// nobody tells us: then it is looked at again after a while.
    pub(super) fn step_aside(&mut self, changed: bool, now: Instant) -> anyhow::Result<()> {
        let copying_since = self.schedule.copying_since.take();
        let may_be_copied = changed || copying_since.is_some();
        let (is_fixed, capture) = (self.is_fixed(), self.capture.as_ref());
        let Some(database) = self.database.as_mut().filter(|_| !is_fixed) else { return Ok(()) };
        let is_done = match capture {
            None if may_be_copied => {
                (database.is_aside() && database.is_copied()?)
                    || database.keep_up(|_| Ok(true))?.is_some_and(|reading| reading.complete)
            }
            // The next segment does it, if there will be one.
            Some(capture) if !capture.is_held_at_cursor() => {
                if capture.is_watched() && !self.schedule.changed {
                    return self.cut(now).map(drop);
                }
                true
            }
            Some(capture) if may_be_copied => {
                let (is_aside, is_copied) = (database.is_aside(), database.is_copied()?);
                // While something is written, nobody can be waiting for the log to end.
                let is_growing = database.committed_bytes()? > capture.log_read().1;
                // Another way round, the log was recovered, and is to be copied once more.
                if is_aside != is_copied && !is_growing {
                    return self.cut(now).map(drop);
                }
                is_copied || is_growing
            }
            _ => true,
        };
        let since = copying_since.unwrap_or(now);
        self.schedule.copying_since = Some(since).filter(|_| !is_done && now - since <= COPY_MAX);
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
