//! Follows one database: captures its log, checkpoints it, and takes its snapshots.

mod absence;
mod adoption;
mod ancestry;
mod application;
mod backlog;
mod checkpointer;
mod checkpoints;
mod comparison;
mod divergence;
mod ending;
mod looks;
mod losses;
mod missed;
mod recovery;
mod reports;
mod sameness;
mod schedule;
mod slot;
mod snapshots;
mod step;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Instant;

use anyhow::Context;
use tracing::{info, warn};

use super::capture::{Capture, Look};
use super::cursor::Saved;
use super::lineage::Lineage;
use super::marks::Marks;
use super::message::{Captured, Lines};
use super::metrics::DatabaseMetrics;
use super::options::DatabaseOptions;
use super::restoration::expect_taken_up;
use super::staging::Staging;
use super::state_directory::StateDirectory;
use super::watcher::Watch;
use crate::format::Generation;
use crate::provenance::Provenance;
use crate::sqlite::{Database, FileIdentity, Naming, OpenError, SqliteError, Undetermined};
use absence::Awaited;
use ancestry::Ancestry;
use missed::Missed;
use sameness::Sameness;
use schedule::Schedule;
use slot::Purpose;
pub(super) use slot::{Slot, Standing};
use step::Interruption;
pub(super) use step::follow;

/// Follows one database: captures its log, checkpoints it, and takes its snapshots.
///
/// Nothing else in this process touches the database. Everything is done in [`Tail::tick`], which
/// never waits for a replica.
#[derive(Debug)]
pub(super) struct Tail {
    options: DatabaseOptions,
    state: StateDirectory,
    slots: Vec<Slot>,
    lines: Lines,
    watch: Watch,
    metrics: DatabaseMetrics,
    database: Option<Database>,
    /// The file of the database that was opened last. A snapshot may still read it after the
    /// database was closed.
    file: Weak<File>,
    capture: Option<Capture>,
    schedule: Schedule,
    ancestry: Ancestry,
    awaited: Awaited,
    /// Why a database whose name was lost is not captured to its end.
    missed: Option<Missed>,
    /// What had become of the file names when we last had to close the database.
    naming: Naming,
    /// The database has been opened, and what an earlier process left was taken up; or we were
    /// asked to stop before there was a database.
    opened: bool,
    /// The kernel notifies us when the files change.
    told: bool,
    /// Memory was released, and nothing has been done since.
    rested: bool,
    /// Set if the last attempt failed.
    interruption: Option<Interruption>,
    /// When we were asked to stop.
    stopping: Option<Instant>,
}

impl Tail {
    pub(super) fn new(
        options: DatabaseOptions,
        state: StateDirectory,
        slots: Vec<Slot>,
        lines: Lines,
        watch: Watch,
        metrics: DatabaseMetrics,
    ) -> std::io::Result<Self> {
        let schedule = Schedule::new(&options, Instant::now());
        let lineage = Lineage::load(state.lineage())?;
        Ok(Self {
            options,
            state,
            slots,
            lines,
            watch,
            metrics,
            database: None,
            file: Weak::new(),
            capture: None,
            schedule,
            ancestry: Ancestry::new(lineage),
            told: false,
            rested: false,
            awaited: Awaited::Nothing,
            missed: None,
            naming: Naming::Same,
            opened: false,
            interruption: None,
            stopping: None,
        })
    }

    fn path(&self) -> &Path {
        &self.options.path
    }

    /// Gives up the current generation: the next snapshot begins another.
    fn abandon(&mut self, reason: &str) {
        if let Some(generation) = self.end_generation() {
            warn!(db = %self.path().display(), %generation, reason, "generation ended");
        }
    }

    fn end_generation(&mut self) -> Option<Generation> {
        let cursor = self.capture.take()?.cursor().clone();
        self.ancestry.note_end_of_generation(cursor.link);
        if self.ancestry.sameness != Sameness::Given {
            self.end_lineage();
        }
        for slot in &mut self.slots {
            if slot.standing == Standing::Joining {
                // Without a snapshot, its segments would be a history that cannot be restored.
                slot.discard(cursor.generation);
            }
            slot.standing = Standing::Outside;
            slot.storing = false;
            // The replica asks again and says what it holds: the next generation may not belong
            // there.
            slot.request.take_if(|request| request.purpose == Purpose::Renewal);
        }
        self.publish();
        Some(cursor.generation)
    }

    fn publish(&self) {
        let captured = self.capture.as_ref().map_or_else(Captured::default, |capture| Captured {
            generation: Some(capture.cursor().generation),
            link: capture.cursor().link,
            pos: capture.cursor().pos,
            ..Captured::default()
        });
        let captured = Captured {
            known: self.opened,
            present: self.database.is_some(),
            stopping: self.stopping.is_some(),
            ..captured
        };
        self.lines.captured.send_replace(captured);
    }

    /// Brings the staging directories up to date with the log, and copies the log into the
    /// database.
    fn tick(&mut self, now: Instant) -> anyhow::Result<()> {
        if !self.open(now)? {
            return Ok(());
        }
        self.expect_state()?;
        if self.is_closing(now) {
            return self.let_go();
        }
        let changed = self.schedule.changed;
        self.follow()?;
        if self.schedule.changed {
            let waiting = self.waiting()?;
            self.schedule.set_pace(waiting);
        }
        let is_due = self.schedule.cut_is_due(now) && !self.is_unwritten()?;
        if is_due || self.stopping.is_some() || self.is_log_long(now)? {
            self.cut(now)?;
        }
        self.step_aside(changed, now)?;
        if self.snapshot_is_due(now) {
            self.take_snapshots(now)?;
        }
        if let Some(effort) = self.checkpoint_effort(now)? {
            self.checkpoint(effort, now)?;
        }
        self.note_tables();
        Ok(())
    }

    /// Makes sure that the file that has the name of the database is open. Returns `false` if it
    /// cannot be opened yet.
    fn open(&mut self, now: Instant) -> anyhow::Result<bool> {
        if self.is_as_opened()? {
            return Ok(true);
        }
        self.expect_old_log_closed()?;
        let context = || format!("open database {}", self.options.path.display());
        match Database::open(&self.options.path, self.file.upgrade()) {
            Ok(None) => return Ok(self.wait_for_file()),
            Ok(Some(database)) => {
                self.file = Arc::downgrade(database.file());
                self.lines.opened.add(database.file())?;
                if self.stopping.is_none() {
                    expect_taken_up(&self.options.path, &self.state)?;
                }
                self.database = Some(database);
            }
            Err(OpenError::Locked) => return self.wait_for_lock(now),
            Err(error) => return Err(error).with_context(context),
        }
        if self.interruption.is_none() {
            info!(path = %self.path().display(), "initialized db");
        }
        self.awaited = Awaited::Nothing;
        self.schedule.checkpoints.fresh = true;
        self.schedule.changed = true;
        if let Err(error) = self.take_up() {
            // All of it is tried again.
            self.database = None;
            return Err(error);
        }
        self.opened = true;
        self.publish();
        Ok(true)
    }

    /// Goes on from what is known of the database that was just opened.
    fn take_up(&mut self) -> anyhow::Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        let identity = database.identity()?;
        if self.opened {
            self.recognize(identity)?;
        } else {
            self.resume(identity)?;
        }
        self.ancestry.file = Some(identity);
        Ok(())
    }

    /// Finds out which file was opened, after the database was closed or missing: it may be another
    /// file, or the one that was moved away.
    fn recognize(&mut self, identity: FileIdentity) -> anyhow::Result<()> {
        let moved = self.ancestry.moved.take();
        if self.ancestry.file.is_none_or(|before| before == identity) {
            if let (Some(moved), Some(database)) = (moved, &self.database) {
                let mut first = [0; 100];
                database.file().read_exact_at(&mut first, 0)?;
                if !Marks::of(&first).is_before(moved.marks) && identity.is_unique() {
                    self.ancestry.lineage.begin_again(moved.generations)?;
                }
            }
            return Ok(());
        }
        match &mut self.capture {
            Some(capture) => {
                capture.set_file(identity);
                self.ancestry.sameness.doubt(Sameness::Doubtful);
            }
            None => self.end_lineage(),
        }
        Ok(())
    }

    /// Closes the database after an error of SQLite: our read transaction may be gone. The database
    /// is then opened again, and the log compared with the cursor as after a stop.
    fn release_if_unsure(&mut self, error: &anyhow::Error) {
        if !error.is::<SqliteError>() && !error.is::<Undetermined>() {
            return;
        }
        let naming = self.database.as_ref().map(Database::naming);
        if let Some(Ok(Naming::DatabaseLost)) = naming {
            // Only we may still be able to capture its log to the end.
            self.leave_to_others(false);
        } else {
            self.release();
        }
    }

    fn release(&mut self) {
        self.database = None;
        if let Some(capture) = &mut self.capture {
            capture.note_released();
        }
    }

    /// Takes up what an earlier process left.
    fn resume(&mut self, identity: FileIdentity) -> anyhow::Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        let staging = self.staging(|_| true);
        let saved = Saved::load(&self.state.cursor())?;
        let restored = Provenance::of(self.path()).map(|restored| restored.0.generation());
        let directory = self.state.identity();
        let is_known = saved.as_ref().is_none_or(|saved| saved.is_about(identity, directory));
        let generation = saved.as_ref().map(|saved| saved.cursor.generation);
        if !is_known && restored != generation {
            self.ancestry.sameness.doubt(Sameness::Doubtful);
        }
        let refuted = saved.as_ref().is_some_and(|saved| saved.refuted && is_known);
        let capture = Capture::resume(&self.state, database.page_size(), identity, &staging)?;
        self.capture = capture.map(|capture| capture.until(&self.lines.cancellation));
        if self.capture.as_ref().is_some_and(Capture::is_ahead) && !self.rebuild_pages()? {
            self.capture = None;
        }
        self.expect_no_older_copy(self.fate_as_found())?;
        if refuted {
            self.ancestry.sameness.doubt(Sameness::Refuted);
            self.abandon("an earlier process found that the database is not what was captured");
        }
        if let (Some(capture), Sameness::Given) = (&self.capture, self.ancestry.sameness) {
            // It is there already, unless the file of the lineage was damaged.
            self.ancestry.lineage.add(capture.cursor().generation)?;
        }
        if self.capture.is_none() {
            if saved.is_some() {
                self.recognize_application();
            }
            if self.ancestry.sameness != Sameness::Given {
                self.end_lineage();
            }
            self.slots.iter_mut().for_each(|slot| slot.standing = Standing::Outside);
        }
        Ok(())
    }

    /// Compares the log with what was read of it last.
    fn follow(&mut self) -> anyhow::Result<()> {
        let (Some(database), Some(capture)) = (&self.database, &mut self.capture) else {
            return Ok(());
        };
        if self.told && capture.is_held() && capture.is_unwritten(database)? {
            return Ok(());
        }
        // Following the log may open what a database at rest does not need.
        self.rested = false;
        match capture.follow(database)? {
            Ok(()) => self.ancestry.sameness.note_continuity(),
            Err(reason) => self.recover(reason)?,
        }
        if self.ancestry.sameness == Sameness::Refuted {
            self.abandon("the database is not what was captured");
        }
        Ok(())
    }

    /// Whether the log certainly has nothing new. If so, it counts as looked at.
    fn is_unwritten(&mut self) -> anyhow::Result<bool> {
        let (Some(database), Some(capture)) = (&self.database, &self.capture) else {
            return Ok(false);
        };
        let unwritten = self.told && capture.is_unwritten(database)?;
        if unwritten {
            self.schedule.looked(false);
            self.schedule.last_look_was_idle = true;
        }
        Ok(unwritten)
    }

    /// Cuts what was committed since the last segment, and returns how many bytes of the log that
    /// was.
    fn cut(&mut self, now: Instant) -> anyhow::Result<u64> {
        let look = self.look();
        let Some(Look { cut, unsettled }) = self.recovered(look)? else { return Ok(0) };
        self.schedule.looked(unsettled);
        self.schedule.last_look_was_idle = cut.is_none();
        let Some(cut) = cut else { return Ok(0) };
        self.schedule.last_cut = Some(now);
        self.schedule.copying_since = None;
        self.rested = false;
        self.publish();
        self.measure(cut, now)?;
        self.bound_backlog(now)?;
        Ok(cut.bytes)
    }

    /// The staging directories of the replicas whose standing `include` selects.
    fn staging(&self, include: impl Fn(Standing) -> bool) -> Vec<Staging> {
        let slots = self.slots.iter().filter(|slot| include(slot.standing));
        slots.map(|slot| slot.staging.clone()).collect()
    }
}
