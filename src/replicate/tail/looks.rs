//! Looks at the log, and keeps our read transaction at its end.

use std::time::{Duration, Instant};

use super::checkpointer::{Checkpointer, Facts, Move, Reach, look_again};
use super::{Standing, Tail};
use crate::replicate::capture::Look;
use crate::sqlite::{Database, Gap};

/// How long to wait for the write lock before we get out of the way of the process that holds it.
const TURN: Duration = Duration::from_millis(20);

impl Tail {
    /// Cuts what was committed since the last segment. Returns `None` if there is no replica to
    /// capture it for.
    pub(super) fn look(&mut self) -> anyhow::Result<Option<Look>> {
        let staging = self.staging(|standing| standing != Standing::Outside);
        let is_fixed = self.is_fixed();
        if let (Some(database), Some(capture), false) =
            (&self.database, &mut self.capture, is_fixed)
        {
            // Done now, while nothing can have been copied that is not captured yet.
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

    /// Tries to do something while nobody can write, for up to `patience`. In between, it gets out
    /// of the way of the process that holds the write lock: that may itself be waiting for us, as a
    /// full checkpoint does, and we would deadlock. `attempt` is given how long it may wait, and
    /// returns `None` if it was not let in.
    pub(super) fn in_turns<T>(
        &mut self,
        patience: Duration,
        mut make_way: impl FnMut(&mut Self) -> anyhow::Result<()>,
        mut attempt: impl FnMut(&mut Self, Duration) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Option<T>> {
        let began = Instant::now();
        loop {
            let before = self.committed_bytes()?;
            let left = patience.saturating_sub(began.elapsed());
            if let Some(done) = attempt(self, left.min(TURN))? {
                return Ok(Some(done));
            }
            if began.elapsed() >= patience {
                return Ok(None);
            }
            // A process that is committing waits for nobody.
            if before == self.committed_bytes()? && !self.is_out_of_the_way()? {
                make_way(self)?;
            }
        }
    }

    /// Gets out of the way of the process that holds the write lock, if possible.
    pub(super) fn make_way(&mut self) -> anyhow::Result<()> {
        match (&mut self.database, &self.capture) {
            (Some(database), None) => database.keep_up(|_| Ok(true)).map(drop),
            // Compared first, for it may be another log by now.
            _ => self.follow().and_then(|()| self.cut(Instant::now())).map(drop),
        }
    }

    /// Gets out of the way without capturing the log: all of the database is to be read afterwards,
    /// or nothing more is to be captured.
    pub(super) fn leave_log(&mut self) -> anyhow::Result<()> {
        let Some(database) = &mut self.database else { return Ok(()) };
        if let Some(capture) = &mut self.capture {
            capture.note_released();
        }
        database.keep_up(|_| Ok(true)).map(drop)
    }

    /// Whether enough of the log is not captured to checkpoint it, which must be captured first. In
    /// an outage it may be written to for a while until the next segment is due.
    pub(super) fn is_log_long(&self, now: Instant) -> anyhow::Result<bool> {
        let Some(capture) = self.capture.as_ref().filter(|_| self.schedule.may_cut_long_log(now))
        else {
            return Ok(false);
        };
        let uncaptured = self.committed_bytes()?.saturating_sub(capture.log_read().1);
        let pages = uncaptured / capture.cursor().page_size.frame_bytes();
        Ok(pages >= u64::from(self.options.min_checkpoint_pages))
    }

    fn committed_bytes(&self) -> anyhow::Result<u64> {
        self.database.as_ref().map_or(Ok(0), Database::committed_bytes)
    }

    /// Whether nobody can be waiting for our read transaction to end. While a checkpoint is in
    /// progress, the transaction may be in its way although everything had been copied when the
    /// transaction began: the checkpointer was just about to release the read mark of those that
    /// read the file alone.
    fn is_out_of_the_way(&self) -> anyhow::Result<bool> {
        let Some(database) = &self.database else { return Ok(true) };
        Ok(database.is_aside() && !database.may_await_readers()? && database.is_copied()?)
    }

    /// Gets out of the way of processes that want all of the log to be copied, or want to restart
    /// it: lets go of what is captured, and of the log once all of it is in the database file.
    /// `changed`: another process may have copied it, or may be about to. A copy shows only in
    /// shared memory, and nothing notifies us: so we look again after a while.
    pub(super) fn step_aside(&mut self, changed: bool, now: Instant) -> anyhow::Result<()> {
        let since = self.schedule.copying_since.take();
        if self.is_fixed() || !(changed || since.is_some()) {
            return Ok(());
        }
        let (other, reach) = (self.checkpointer()?, self.reach()?);
        let may_hurry = self.schedule.until_hurry(now).is_zero();
        let seen_for = since.map_or(Duration::ZERO, |since| now - since);
        let way = reach.way(other, seen_for, self.is_at_rest()?, may_hurry);
        match way {
            Move::Stay => (),
            Move::On => self.make_way()?,
            Move::Out => self.let_pass()?,
        }
        let facts = Facts {
            was_cut_for: way == Move::On && reach == Reach::Part,
            is_uncut: reach == Reach::Part && self.schedule.changed,
            is_in_the_way: !self.is_out_of_the_way()?,
        };
        self.schedule.copying_since = look_again(other, since.unwrap_or(now), now, facts);
        Ok(())
    }

    /// Ends our read transaction for a moment, see [`Database::let_pass`].
    fn let_pass(&mut self) -> anyhow::Result<()> {
        if let (Some(database), Some(capture)) = (&mut self.database, &mut self.capture) {
            match database.let_pass(capture.log_read().1)? {
                Gap::None => (),
                Gap::Quiet => {
                    capture.note_next_reader();
                    capture.note_advanced();
                }
                Gap::Unwatched => capture.note_released(),
            }
        }
        Ok(())
    }

    fn reach(&self) -> anyhow::Result<Reach> {
        Ok(match &self.capture {
            None => Reach::Nowhere,
            Some(capture) if !capture.is_watched() => Reach::Unproven,
            // An empty log, or one that was all copied, has another length than we have read.
            Some(_) if !self.schedule.changed => Reach::All,
            Some(capture) if self.committed_bytes()? == capture.log_read().1 => Reach::All,
            Some(_) => Reach::Part,
        })
    }

    /// Whether moving our read transaction would change nothing: it is at the cursor, and reads the
    /// file alone exactly if all of the log is there.
    fn is_at_rest(&self) -> anyhow::Result<bool> {
        let (Some(database), Some(capture)) = (&self.database, &self.capture) else {
            return self.is_out_of_the_way();
        };
        Ok(capture.is_held_at_cursor() && database.is_aside() == database.is_copied()?)
    }

    /// Lets others copy and restart the log, although nothing more of it is captured, if another
    /// process waits for that. The next start then compares the database.
    pub(super) fn let_go(&mut self) -> anyhow::Result<()> {
        if self.checkpointer()? == Checkpointer::Waiting && !self.is_storing() {
            self.leave_log()?;
        }
        Ok(())
    }

    fn checkpointer(&mut self) -> anyhow::Result<Checkpointer> {
        let Some(database) = &self.database else { return Ok(Checkpointer::Absent) };
        let committed = Some(database.committed_bytes()?);
        let has_grown = std::mem::replace(&mut self.schedule.committed, committed) != committed;
        Ok(Checkpointer::of(database.may_await_readers()?, has_grown))
    }

    /// Whether our read transaction is to stay as it is: a snapshot needs it, or it ends soon and
    /// is in nobody's way. When many databases stop at once, file descriptors for a new one may run
    /// out.
    fn is_fixed(&self) -> bool {
        let is_out_of_the_way = || self.is_out_of_the_way().unwrap_or(true);
        self.is_storing() || (self.stopping.is_some() && is_out_of_the_way())
    }

    /// Whether a snapshot of the database, as our read transaction keeps it, is being stored.
    pub(super) fn is_storing(&self) -> bool {
        self.slots.iter().any(|slot| slot.storing)
    }
}
