use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{Standing, Tail};
use crate::failpoint::Failpoint;
use crate::format::WalIndex;
use crate::replicate::capture::Capture;
use crate::replicate::checkpoint::Effort;
use crate::replicate::staging::Staging;
use crate::replicate::state_directory::StateDirectory;
use crate::sqlite::{Database, readers};

/// How long to wait for a writer of the application, while others may be waiting for it too.
const PATIENCE_GENTLE: Duration = Duration::from_millis(100);
const PATIENCE_FIRM: Duration = Duration::from_secs(1);

/// How many bytes of the log may be left to read and copy while nobody can write.
pub(super) const REMAINDER: u64 = 1 << 20;

/// How far [`REMAINDER`] is raised while a long log cannot be emptied, time after time.
const REMAINDER_MAX: u64 = 64 << 20;

/// How far [`REMAINDER`] is raised while a log that is not long yet cannot be emptied.
const REMAINDER_MAX_GENTLE: u64 = 4 << 20;

/// How many cuts to try until little enough of the log is left. Each leaves less, unless the
/// application is faster.
const ROUNDS_MAX: u32 = 8;

/// How many rounds of cutting, copying and syncing to try until little enough of the log is left.
const COPIES_MAX: u32 = 4;

/// How many failed checkpoints it takes, the last of them firm, before we log who is in the way.
const READ_FOR_LONG: u32 = 5;

/// How often to log who is in the way.
const NAMING_INTERVAL: Duration = Duration::from_mins(1);

/// A fully copied log larger than this is truncated once nobody writes: it has grown in an outage.
/// Truncating takes a second for each gigabyte or two, during which nobody can write.
pub(super) const LOG_BYTES_KEPT: u64 = 64 << 20;

/// How long to leave a log alone that the application has left: some open the database for each
/// thing that they do.
const LEFT_INTERVAL: Duration = Duration::from_secs(10);

/// How often to checkpoint while there is no replica to capture the log for.
const UNCAPTURED_INTERVAL: Duration = Duration::from_secs(10);

impl Tail {
    /// Whether to checkpoint now, and how hard to try.
    pub(super) fn checkpoint_effort(&self, now: Instant) -> anyhow::Result<Option<Effort>> {
        if self.is_storing() {
            return Ok(None);
        }
        let checkpoints = &self.schedule.checkpoints;
        let Some(capture) = &self.capture else {
            let is_due = checkpoints.since_last(now) >= UNCAPTURED_INTERVAL;
            let due = is_due && self.stopping.is_none();
            return Ok((due && self.database.as_ref().map_or(Ok(0), Database::log_bytes)? > 0)
                .then_some(Effort::Gentle));
        };
        let effort = checkpoints.effort(capture.undrained_pages(), now);
        let is_left = || self.is_log_left() && self.until_left(now).is_zero();
        Ok(if effort.is_none() && is_left() { Some(Effort::Gentle) } else { effort })
    }

    /// How long until a log that the application has left is to be checkpointed.
    fn until_left(&self, now: Instant) -> Duration {
        let since_cut = self.schedule.last_cut.map_or(LEFT_INTERVAL, |last| now - last);
        LEFT_INTERVAL.saturating_sub(since_cut.min(self.schedule.checkpoints.since_last(now)))
    }

    /// Whether the application has closed the database, and the file lacks something of its log.
    /// Without us, SQLite would have brought that into the file: whoever copies or moves it then
    /// does not look for a log.
    fn is_log_left(&self) -> bool {
        let (Some(database), Some(capture)) = (&self.database, &self.capture) else { return false };
        capture.undrained_pages() > 0 && !database.is_open_elsewhere().unwrap_or(true)
    }

    /// How long until the log is to be checkpointed, unless it changes. `None`: never.
    pub(super) fn until_checkpoint(&self, now: Instant) -> Option<Duration> {
        if self.is_storing() {
            return None;
        }
        let checkpoints = &self.schedule.checkpoints;
        let pages = self.capture.as_ref().map_or(0, Capture::undrained_pages);
        let until = checkpoints.until_due(pages, now);
        if !self.is_log_left() {
            return until;
        }
        let left = self.until_left(now);
        Some(until.map_or(left, |until| until.min(left)))
    }

    /// Checkpoints. Recovers if the log turns out not to be the one that was read.
    pub(super) fn checkpoint(&mut self, effort: Effort, now: Instant) -> anyhow::Result<()> {
        let outcome = self.try_checkpoint(effort, now);
        self.recovered(outcome)
    }

    /// Copies the log into the database file, so that the application can begin a new one.
    ///
    /// What takes long is done while the application goes on writing. When it has to wait, only
    /// what it wrote in the last instant is left to read and copy.
    fn try_checkpoint(&mut self, effort: Effort, now: Instant) -> anyhow::Result<()> {
        self.schedule.checkpoints.begin(now);
        let patience = match effort {
            Effort::Gentle => PATIENCE_GENTLE,
            Effort::Firm => PATIENCE_FIRM,
        };
        let complete = self.approach(effort, patience, now)? && self.checkpoint_alone(patience)?;
        let metrics = self.metrics.checkpoint("PASSIVE");
        metrics.count.inc();
        metrics.seconds.inc_by(now.elapsed().as_secs_f64());
        self.rested = false;
        self.schedule.checkpoints.end(now, complete);
        if !complete {
            metrics.error_count.inc();
            self.say_who_reads(effort, now);
        }
        for stall in self.database.as_mut().map(Database::take_stalls).unwrap_or_default() {
            self.metrics.stall_seconds.observe(stall.as_secs_f64());
        }
        Ok(())
    }

    /// Logs which processes keep a long log from being emptied, if they do so for seconds.
    fn say_who_reads(&mut self, effort: Effort, now: Instant) {
        let checkpoints = &mut self.schedule.checkpoints;
        let lasting = effort == Effort::Firm && checkpoints.failures >= READ_FOR_LONG;
        if !lasting || checkpoints.named_readers.is_some_and(|last| now - last < NAMING_INTERVAL) {
            return;
        }
        let (db, readers) = (self.options.path.as_path(), readers(&self.options.path));
        if readers.is_empty() {
            return;
        }
        checkpoints.named_readers = Some(now);
        let names: Vec<String> = readers.iter().map(ToString::to_string).collect();
        let (db, names) = (db.display(), names.join(", "));
        if readers.iter().all(|reader| reader.writes) {
            warn!(
                %db, writers = names,
                "the log grows, because it is written to all the time, faster than it can be \
                 copied; or the writer reads in one long transaction as well"
            );
        } else {
            warn!(
                %db, readers = names,
                "the log grows, because it is being read from all the time: end long read \
                 transactions"
            );
        }
    }

    /// Captures and copies the log, except for a rest small enough to read and copy while nobody
    /// can write. Returns `false` if the application writes faster than that.
    fn approach(
        &mut self,
        effort: Effort,
        patience: Duration,
        now: Instant,
    ) -> anyhow::Result<bool> {
        let remainder_max = remainder_max(effort, self.schedule.checkpoints.failures);
        let mut written_before = None;
        for _ in 0..COPIES_MAX {
            if !self.catch_up(remainder_max, now)? || !self.advance(patience)? {
                return Ok(false);
            }
            let copied = self.log_read();
            self.follow()?;
            if !self.catch_up(remainder_max, now)? {
                return Ok(false);
            }
            // What was written while the log was copied and synced.
            let (index, offset) = self.log_read();
            let written = if index == copied.0 { offset.saturating_sub(copied.1) } else { offset };
            if written <= remainder_max {
                // An error will show again in the checkpoint.
                let _ = self.database.as_ref().map(Database::sync_log);
                return Ok(true);
            }
            if written_before.is_some_and(|before| is_outpaced(before, written)) {
                return Ok(false);
            }
            written_before = Some(written);
        }
        Ok(false)
    }

    /// The index of the log that was captured last, and how many bytes of it were captured.
    fn log_read(&self) -> (WalIndex, u64) {
        self.capture.as_ref().map(Capture::log_read).unwrap_or_default()
    }

    /// Captures the log, except for a rest small enough to read in an instant. Returns `false` if
    /// the application writes faster than that.
    fn catch_up(&mut self, remainder_max: u64, now: Instant) -> anyhow::Result<bool> {
        is_caught_up(remainder_max, || self.cut(now))
    }

    /// Moves our read transaction to the end of the log, and copies the log up to there, while the
    /// application goes on writing. Returns `false` if a writer did not let us in.
    fn advance(&mut self, patience: Duration) -> anyhow::Result<bool> {
        let staging = self.staging(|standing| standing != Standing::Outside);
        let advanced = self.in_turns(patience, Self::make_way, |tail, turn| {
            let Self { database: Some(database), capture, state, .. } = tail else {
                return Ok(None);
            };
            database.advance(turn, |database| drain(capture.as_mut(), database, state, &staging))
        })?;
        if let (Some(_), Some(database)) = (advanced, &mut self.database) {
            database.backfill()?;
            if let Some(capture) = &mut self.capture {
                capture.note_advanced();
            }
        }
        self.publish();
        Ok(advanced.is_some())
    }

    fn checkpoint_alone(&mut self, patience: Duration) -> anyhow::Result<bool> {
        let staging = self.staging(|standing| standing != Standing::Outside);
        let checkpoint = self.in_turns(patience, Self::make_way, |tail, turn| {
            let Self { database: Some(database), capture, state, .. } = tail else {
                return Ok(None);
            };
            // What is staged is not made durable: the application waits, and after a loss of power
            // none of it is trusted anyway (see [`Capture::resume`]).
            database.checkpoint(turn, |database| drain(capture.as_mut(), database, state, &staging))
        })?;
        self.publish();
        let Some(checkpoint) = checkpoint else { return Ok(false) };
        match &mut self.capture {
            Some(capture) if checkpoint.complete => capture.note_drained(),
            // Another process may have copied the rest meanwhile, so that the log may be restarted
            // now.
            Some(capture) => capture.note_advanced(),
            None => (),
        }
        debug!(
            db = %self.path().display(), position = %self.lines.captured.borrow().pos,
            complete = checkpoint.complete, took = ?checkpoint.took, "checkpoint",
        );
        Ok(checkpoint.complete)
    }

    /// Truncates a log that has grown large in an outage. Only to be called while the application
    /// is idle: its writes would have to wait. Returns `false` if another process is in the way.
    pub(super) fn shorten_log(&mut self) -> anyhow::Result<bool> {
        let drained = self.capture.as_ref().is_some_and(Capture::is_drained);
        if drained && self.database.as_ref().map_or(Ok(0), Database::log_bytes)? > LOG_BYTES_KEPT {
            return self.truncate_log();
        }
        Ok(true)
    }

    /// Empties a log that was drained. Returns `false` if another process is in the way.
    pub(super) fn truncate_log(&mut self) -> anyhow::Result<bool> {
        let Some(database) = &mut self.database else { return Ok(false) };
        let (began, truncated) = (Instant::now(), database.truncate_log()?);
        Failpoint::LogTruncated.pass()?;
        let metrics = self.metrics.checkpoint("TRUNCATE");
        metrics.count.inc();
        metrics.seconds.inc_by(began.elapsed().as_secs_f64());
        Ok(truncated)
    }
}

/// How many bytes of the log may be left while nobody can write, after `failures` checkpoints that
/// failed. An application that writes faster than the disk can be synced has to wait for it at some
/// point: a log that grows for ever would be worse.
fn remainder_max(effort: Effort, failures: u32) -> u64 {
    let longest = match effort {
        Effort::Gentle => REMAINDER_MAX_GENTLE,
        Effort::Firm => REMAINDER_MAX,
    };
    (REMAINDER << failures.min(32)).min(longest)
}

/// Whether the application writes so fast that copying its log again would achieve nothing but take
/// disk time from it: `before` bytes were left to be copied, and now `left` are.
pub(super) fn is_outpaced(before: u64, left: u64) -> bool {
    left > before / 2
}

/// Cuts repeatedly, until there were no more than `remainder_max` bytes to cut. Returns `false` if
/// that did not happen.
fn is_caught_up(
    remainder_max: u64,
    mut cut: impl FnMut() -> anyhow::Result<u64>,
) -> anyhow::Result<bool> {
    for _ in 0..ROUNDS_MAX {
        // What was written meanwhile is in proportion to what was cut.
        if cut()? <= remainder_max {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Captures the log to its end, while nobody can write.
pub(super) fn drain(
    capture: Option<&mut Capture>,
    database: &Database,
    state: &StateDirectory,
    staging: &[Staging],
) -> anyhow::Result<()> {
    let Some(capture) = capture else { return Ok(()) };
    if let Err(reason) = capture.follow(database)? {
        return Err(reason.into());
    }
    capture.cut(database, state, staging)?;
    Failpoint::LogDrained.pass()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rounds it takes to catch up with an application that writes `written` bytes while a
    /// hundred are cut, after an outage that left `outage` bytes. `None`: we give up.
    fn rounds(written: u64, outage: u64) -> Option<u32> {
        let (mut left, mut rounds) = (outage, 0);
        let caught_up = is_caught_up(REMAINDER, || {
            rounds += 1;
            let cut = left;
            left = cut * written / 100;
            Ok(cut)
        });
        assert!(rounds <= ROUNDS_MAX);
        caught_up.unwrap().then_some(rounds)
    }

    #[test]
    fn a_long_log_is_emptied_in_the_end_whatever_is_left() {
        assert_eq!(
            [0, 1, 9].map(|failures| remainder_max(Effort::Gentle, failures) >> 20),
            [1, 2, 4]
        );
        assert_eq!(
            [0, 1, 4].map(|failures| remainder_max(Effort::Firm, failures) >> 20),
            [1, 2, 16]
        );
        assert_eq!(
            [6, u32::MAX].map(|failures| remainder_max(Effort::Firm, failures)),
            [REMAINDER_MAX; 2]
        );
    }

    /// Writers must not be locked out while we read what was written in an outage, or by an
    /// application that is faster than we are.
    #[test]
    fn nobody_is_locked_out_before_little_is_left() {
        assert_eq!(rounds(10, REMAINDER), Some(1));
        assert_eq!(rounds(10, 1 << 30), Some(5));
        assert_eq!(rounds(50, 1 << 30), None, "what is left is for the next time");
        assert_eq!(rounds(100, REMAINDER + 1), None);
        assert_eq!(rounds(300, REMAINDER + 1), None);
    }
}
