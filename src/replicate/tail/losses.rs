//! Files that were taken away from under us: the log of a database, its index, our own state.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, anyhow};
use tracing::{error, warn};

use super::checkpoints::drain;
use super::missed::Missed;
use super::sameness::Sameness;
use super::{Slot, Standing, Tail};
use crate::format::{Generation, WalPos};
use crate::replicate::capture::Capture;
use crate::replicate::image::Image;
use crate::replicate::last_write::Fate;
use crate::replicate::marks::Marks;
use crate::replicate::restoration::note_again;
use crate::sqlite::{
    Database, Leaving, LostLog, Naming, OpenError, is_damage, is_open, keep_unnamed_log,
    quick_check,
};

/// A database file that was moved away.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) generations: Vec<Generation>,
    /// The marks on its first page.
    pub(super) marks: Marks,
}

impl Tail {
    /// Whether the database is open, and nothing has taken the place of its files. Otherwise closes
    /// it, such that the next process to open its name finds the files that belong to that name.
    pub(super) fn is_as_opened(&mut self) -> anyhow::Result<bool> {
        let Some(database) = &mut self.database else { return Ok(false) };
        let mut naming = database.naming()?;
        match naming {
            Naming::Same if self.missed == Some(Missed::InUse { is_held: false }) => {
                // Put back, after our read transaction had ended.
                self.missed = None;
                self.release();
            }
            Naming::Same if !database.was_overwritten()? => {
                if self.is_left_to_others() {
                    // Put back.
                    self.missed = None;
                }
                return Ok(true);
            }
            Naming::Same => {
                // All of the log was in the file that was overwritten. The next process to open the
                // file would copy the log into it again. A log that came with the new file is left
                // alone.
                let is_ours = self.capture.as_ref().is_some_and(|capture| {
                    database.log().is_ok_and(|log| log.is_some_and(|log| capture.has_read(&log)))
                });
                if is_ours {
                    let emptied = database.truncate_log().map(drop);
                    self.warn_of_log(emptied);
                }
                self.estrange();
                self.abandon("the database file was overwritten in place");
                self.database = None;
            }
            Naming::DatabaseLost => self.lose_name()?,
            Naming::IndexLost | Naming::LogLost => naming = self.lose_log(naming)?,
        }
        self.naming = naming;
        Ok(false)
    }

    /// Closes a database whose name belongs to another file, or to none, with what was committed in
    /// the file and captured. Fails while an application has it open: that goes on with it.
    fn lose_name(&mut self) -> anyhow::Result<()> {
        let staging = self.staging(|standing| standing != Standing::Outside);
        let Self { database: Some(database), capture, state, lines, slots, .. } = self else {
            return Ok(());
        };
        let captured = RefCell::new(capture.as_mut());
        let mut is_copied = false;
        let left = database.leave_name(
            |id| lines.opened.get(id),
            |file, log| {
                let mut captured = captured.borrow_mut();
                is_copied = captured.as_mut().map_or(Ok(true), |it| it.is_led_to(file, log))?;
                Ok(is_copied)
            },
            |database, is_quiet| {
                let mut captured = captured.borrow_mut();
                if let Some(capture) = captured.as_mut().filter(|_| !is_quiet) {
                    capture.note_released();
                }
                drain(captured.as_deref_mut(), database, state, &staging)
            },
        );
        if let Ok(Leaving::InUse { is_held }) = left {
            let missed = self.leave_to_others(is_held);
            return Err(anyhow!("{}: {missed}", self.path().display()));
        }
        let was_moved = database.file().metadata()?.nlink() > 0;
        let is_reached = |slot: &Slot| match slot.standing {
            Standing::Inside => true,
            // Its snapshot may be stored already. What follows that will not be sent, and is in the
            // file, if that was only moved.
            Standing::Joining => was_moved || slot.staging.is_empty().unwrap_or(false),
            Standing::Unknown | Standing::Outside => false,
        };
        self.missed = match &left {
            _ if is_copied => None,
            Err(error) => Some(Missed::Rest(format!("{error:#}"))),
            Ok(_) if capture.is_some() && slots.iter().all(is_reached) => None,
            Ok(_) => Some(Missed::Rest("not every replica had a copy of it".to_owned())),
        };
        self.warn_of_log(left.map(drop));
        if let Some(capture) = &self.capture
            && was_moved
            && self.ancestry.sameness == Sameness::Given
        {
            let generations = self.ancestry.lineage.generations().to_vec();
            self.ancestry.moved = Some(Moved { generations, marks: capture.cursor().marks });
        }
        self.database = None;
        self.abandon("the database file was replaced by another one, or removed");
        self.end_lineage();
        Ok(())
    }

    /// Notes that the database has lost its name, and its application may go on with it. `is_held`:
    /// our read transaction is still the same.
    pub(super) fn leave_to_others(&mut self, is_held: bool) -> Missed {
        if let Some(capture) = self.capture.as_mut().filter(|_| !is_held) {
            capture.note_released();
        }
        let missed = Missed::InUse { is_held };
        self.missed = Some(missed.clone());
        missed
    }

    fn warn_of_log(&self, emptied: anyhow::Result<()>) {
        if let Err(error) = emptied {
            let db = self.path().display();
            warn!(%db, "cannot empty the log of a database that was replaced: {error:#}");
        }
    }

    /// Decides what becomes of our log, when its name or that of its index is gone. Returns
    /// `naming` if others may still have those files, and [`Naming::Same`] if not.
    fn lose_log(&mut self, naming: Naming) -> anyhow::Result<Naming> {
        let Some(database) = &mut self.database else { return Ok(naming) };
        let overwritten = database.was_overwritten()?;
        let capture = &mut self.capture;
        let outcome = database.settle_lost_log(|file, log| match capture {
            Some(capture) => capture.is_led_to(file, log),
            // Nothing is known of the log, and there is nothing in a replica that it could spoil.
            None => Ok(true),
        })?;
        let db = self.path().display();
        match outcome {
            // This is logged when the generation ends.
            LostLog::Kept if overwritten => (),
            LostLog::Kept => warn!(
                %db,
                "the -wal or -shm file was removed or replaced while it was in use: nothing is \
                 lost, the database is opened anew and compared with its replicas"
            ),
            LostLog::Shared => warn!(
                %db,
                "the -wal or -shm file was removed or replaced while it was in use: nothing is \
                 replicated before the last application that has the old one has ended. Then the \
                 database is compared with its replicas"
            ),
            LostLog::Superseded => error!(
                %db, position = %self.lines.captured.borrow().pos,
                "the -wal file was removed or replaced while it was in use, and with it what was \
                 committed since the last checkpoint. The replicas have that up to this position: \
                 the database is compared with them"
            ),
            LostLog::Foreign => error!(
                %db, position = %self.lines.captured.borrow().pos,
                "the -wal file was removed, and the database file overwritten in place, while they \
                 were in use: the file is left as it is, and the log kept beside it, as \
                 -wal.lost-…. The replicas have what was there, up to this position"
            ),
        }
        match outcome {
            _ if overwritten => {
                self.estrange();
                self.abandon("the database file was overwritten in place");
            }
            LostLog::Foreign => self.estrange(),
            LostLog::Superseded => self.ancestry.sameness.doubt(Sameness::Doubtful),
            LostLog::Shared => self.ancestry.sameness.doubt(Sameness::Suspected),
            LostLog::Kept => (),
        }
        self.release();
        Ok(if outcome == LostLog::Shared { naming } else { Naming::Same })
    }

    /// Closes the database because the log lacks what SQLite takes to be committed.
    pub(super) fn give_up_log(&mut self) {
        let captured = self.capture.as_ref().map_or(0, Capture::undrained_bytes);
        let Some(database) = &mut self.database else { return };
        // What was captured was in the log once, and so was its header. A copy put in the log's
        // place has both, and the application has the rest.
        let was_cut_off = database.is_log_cut_off(captured).unwrap_or(true);
        if was_cut_off {
            error!(
                db = %self.path().display(),
                "the -wal file was cut off while it was in use: the database may be damaged. \
                 Compare it with its replica"
            );
            self.ancestry.sameness.doubt(Sameness::Doubtful);
        }
        self.release();
    }

    /// Whether the database is damaged, or has gone back to before what was captured from its log:
    /// the log was lost, and the process that had it open may have died with it.
    pub(super) fn has_suffered(&mut self, image: &Image) -> anyhow::Result<bool> {
        let Some(capture) = &mut self.capture else { return Ok(false) };
        let read = |page, content: &mut [u8]| image.read_pages(page, content);
        if capture.has_gone_back(image.pages(), read)? {
            error!(
                db = %self.options.path.display(), position = %capture.cursor().pos,
                "the database has gone back to before what was captured from its log, which was \
                 removed: restore it from a replica, which has all up to this position"
            );
            return Ok(true);
        }
        let damage = match quick_check(&self.options.path) {
            // If the check cannot be made now, that proves nothing.
            Err(error) if !is_damage(&error) => return Err(error),
            checked => checked.err(),
        };
        if let Some(damage) = &damage {
            error!(
                db = %self.options.path.display(), position = %capture.cursor().pos,
                "the database is damaged since its log was removed: {damage:#}. Restore it from a \
                 replica, which has all up to this position"
            );
        }
        Ok(damage.is_some())
    }

    /// Whether the log was removed while nobody watched, and another one begun, before what was
    /// captured from it was in the database file.
    pub(super) fn has_lost_its_log(&mut self) -> anyhow::Result<bool> {
        let (Some(database), Some(capture)) = (&self.database, &self.capture) else {
            return Ok(false);
        };
        let lost = self.is_untouched()?
            && database.log()?.is_some_and(|log| !capture.has_read(&log))
            && !capture.is_in(database.file())?
            // Nor did anybody write to it while it was read.
            && self.is_untouched()?;
        if lost {
            self.mourn_log();
        }
        Ok(lost)
    }

    /// Whether nobody has written to the database file since the file and its log together were
    /// what was captured.
    pub(super) fn is_untouched(&self) -> anyhow::Result<bool> {
        let (Some(database), Some(capture)) = (&self.database, &self.capture) else {
            return Ok(false);
        };
        Ok(capture.fate(&database.file().metadata()?) == Fate::Untouched)
    }

    /// Notes that the log is gone, and nobody has copied it into the database file.
    pub(super) fn mourn_log(&mut self) {
        let position = self.capture.as_ref().map_or_else(WalPos::default, |it| it.cursor().pos);
        error!(
            db = %self.path().display(), %position,
            "the -wal file was removed while nothing watched it, and with it what was committed \
             since the last checkpoint: the database has gone back to before that. Restore it from \
             a replica, which has all up to this position"
        );
        self.estrange();
    }

    /// What had become of the file before we opened it: putting it into WAL mode writes to it.
    pub(super) fn fate_as_found(&self) -> Fate {
        let found = self.database.as_ref().map(Database::found);
        let fate = self.capture.as_ref().zip(found).map(|(capture, found)| capture.fate(found));
        fate.unwrap_or(Fate::Unknown)
    }

    /// Gives up the generation if an older copy was put in the place of what was captured: the file
    /// was given an earlier time, as `fate` says, and does not lead to what was captured.
    pub(super) fn expect_no_older_copy(&mut self, fate: Fate) -> anyhow::Result<()> {
        let (Some(database), Some(capture)) = (&self.database, &mut self.capture) else {
            return Ok(());
        };
        let file = database.file();
        if fate != Fate::PutBack {
            return Ok(());
        }
        let is_captured = match database.log()? {
            Some(log) if capture.has_read(&log) => capture.is_led_to(file, log)?,
            _ => capture.is_in(file)?,
        };
        if is_captured {
            // Somebody has only set its time.
            capture.forget_write();
        } else {
            error!(
                db = %self.path().display(),
                "the database file was overwritten by an older copy"
            );
            self.estrange();
            self.abandon("the database file was overwritten in place");
        }
        Ok(())
    }

    /// Fails while another process may have the log that was removed.
    ///
    /// With a connection of ours, that process would not be the last to close the database, and
    /// SQLite would not copy what was committed to that log into the database file.
    pub(super) fn expect_old_log_closed(&mut self) -> anyhow::Result<()> {
        if self.naming == Naming::LogLost && is_open(self.path())? {
            let context = format!("open database {}", self.path().display());
            return Err(OpenError::LogLost).context(context);
        }
        self.naming = Naming::Same;
        if let Some(kept) = keep_unnamed_log(self.path())? {
            error!(
                db = %self.path().display(), kept = %kept.display(),
                "an earlier process died before it could give a log that was removed its name \
                 back: the log is kept, and the database compared with its replicas"
            );
            self.ancestry.sameness.doubt(Sameness::Doubtful);
        }
        Ok(())
    }

    /// Makes the state directory anew if it was removed, and goes on with what we know.
    pub(super) fn expect_state(&mut self) -> anyhow::Result<()> {
        if self.state.renew(&self.options.path)? {
            error!(
                db = %self.path().display(), path = %self.state.path().display(),
                "the state directory was removed while it was in use, and with it what waited for \
                 the replicas. It is made anew: nobody may delete it"
            );
            self.ancestry.forget_tables();
            self.abandon("its state was lost");
        }
        if self.state.is_blank() {
            // Tried again and again, until all of it is written.
            self.ancestry.lineage.store()?;
            note_again(self.path(), &self.state)?;
            self.slots.iter().try_for_each(|slot| slot.staging.note_again())?;
            self.state.note_written_again();
        }
        Ok(())
    }
}
