use std::io;
use std::time::{Duration, Instant};

use tracing::warn;

use super::missed::Missed;
use super::{Slot, Standing, Tail};
use crate::replicate::outcome::{Uncaptured, Unreplicated};
use crate::sqlite::Database;

/// How long to go on after we are asked to stop, while the application writes: it is often asked to
/// stop at the same moment, and its last transactions are the ones that matter.
const LINGER: Duration = Duration::from_secs(5);

/// How long to go on while the application has the database open and writes nothing: it was often
/// asked to stop at the same moment.
const QUIET: Duration = Duration::from_secs(2);

impl Tail {
    /// Whether we were asked to stop, and there is nothing left to do.
    pub(super) fn may_end(&self, now: Instant) -> bool {
        let Some(since) = self.stopping else { return false };
        let is_over = self.is_left_to_others()
            || (self.database.is_none() && self.missed.is_some() && self.is_gone());
        (self.is_complete() || (is_over && self.is_sent())) && !self.may_see_more(since, now)
    }

    /// Whether the database has lost its name, and its application goes on with it.
    pub(super) fn is_left_to_others(&self) -> bool {
        matches!(self.missed, Some(Missed::InUse { .. }))
    }

    fn is_sent(&self) -> bool {
        self.slots.iter().all(|slot| slot.staging.is_empty().unwrap_or(false))
    }

    /// Whether the application may still commit something.
    fn may_see_more(&self, since: Instant, now: Instant) -> bool {
        let last = self.schedule.last_cut.map_or(since, |cut| cut.max(since));
        let open = |database: &Database| database.is_open_elsewhere().unwrap_or(false);
        // A writer may be waiting for us, and commit something after that.
        let writing = |database: &Database| database.is_being_written().unwrap_or(false);
        let database = self.database.as_ref();
        let is_quiet = now - last >= QUIET && !database.is_some_and(writing);
        !is_quiet && now - since < LINGER && database.is_some_and(open)
    }

    /// Whether every replica has everything that was committed, and nobody has taken it over.
    pub(super) fn is_complete(&self) -> bool {
        let sent = self.is_sent();
        if self.database.is_none() {
            return sent && self.is_gone() && self.missed.is_none();
        }
        let Some(capture) = &self.capture else { return false };
        let settled = |slot: &Slot| slot.settled == Some(capture.cursor().link);
        let inside =
            self.slots.iter().all(|slot| slot.standing == Standing::Inside && settled(slot));
        // The log may have been restarted between being compared and being looked at.
        let idle = self.schedule.last_look_was_idle && self.uncaptured() == Uncaptured::Nothing;
        let captured = idle || self.is_closing(Instant::now());
        captured && inside && sent
    }

    /// Whether the application has gone on writing for so long after we were asked to stop that it
    /// will not stop. What was captured is still sent, and nothing more is captured.
    pub(super) fn is_closing(&self, now: Instant) -> bool {
        let inside = self.slots.iter().all(|slot| slot.standing == Standing::Inside);
        inside && self.stopping.is_some_and(|since| now - since >= LINGER)
    }

    /// Whether there is no database: its application has removed it, or has not created it yet.
    fn is_gone(&self) -> bool {
        match std::fs::metadata(self.path()) {
            Ok(metadata) => metadata.len() == 0,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// What was committed and is not captured.
    fn uncaptured(&self) -> Uncaptured {
        match (&self.database, &self.capture) {
            // We let go of the log while it was being written, and it may have been restarted
            // since.
            (Some(database), Some(capture)) if capture.may_have_missed(database) => {
                Uncaptured::LastTransactions
            }
            (Some(database), Some(capture)) => match capture.lags_behind(database) {
                Ok(false) => Uncaptured::Nothing,
                Ok(true) => Uncaptured::LastTransactions,
                Err(_) => Uncaptured::Unknown,
            },
            (Some(_), None) => Uncaptured::LastTransactions,
            (None, _) if self.is_gone() && self.missed.is_none() => Uncaptured::Nothing,
            (None, _) => Uncaptured::Unknown,
        }
    }

    /// Leaves everything such that a later process can go on from here, and returns what was not
    /// sent.
    pub(super) fn end(&mut self) -> Vec<Unreplicated> {
        if let Some(mut capture) = self.capture.take() {
            let staging = self.staging(|standing| standing != Standing::Outside);
            let noted =
                self.database.as_ref().map_or(Ok(()), |it| capture.note_write(it.file()).map(drop));
            let finished = noted.map_err(anyhow::Error::from);
            if let Err(error) = finished.and_then(|()| capture.finish(&self.state, &staging)) {
                warn!(db = %self.path().display(), "the next start may need a snapshot: {error:#}");
            }
            self.capture = Some(capture);
        }
        let uncaptured = self.uncaptured();
        let is_complete = self.is_complete() && uncaptured == Uncaptured::Nothing;
        let reason = self.interruption.as_ref().map(|interruption| interruption.reason.as_str());
        let missing = |slot: &Slot| {
            let metrics = self.metrics.replica(&slot.name);
            let lacking =
                || Unreplicated::of(self.path(), slot, uncaptured, reason, || metrics.error());
            let missed = self
                .missed
                .as_ref()
                .map(|missed| Unreplicated::not_captured(self.path(), slot, &missed.to_string()));
            // Without a database, that is all that can be missing.
            let is_over = missed.is_some() && self.database.is_none();
            let missing = if is_complete || is_over { None } else { lacking() };
            let not_restorable = |defect| Unreplicated::not_restorable(self.path(), slot, defect);
            missing.or(missed).or_else(|| slot.staging.defect().map(not_restorable))
        };
        self.slots.iter().filter_map(missing).collect()
    }
}
