//! Files that were taken away under us: the log of a database, its index, our own state.

use anyhow::Context;
use tracing::{error, warn};

use super::Tail;
use super::sameness::Sameness;
use crate::replicate::capture::Capture;
use crate::replicate::restoration::note_again;
use crate::sqlite::{LostLog, Naming, OpenError, is_open};

impl Tail {
    /// What we hold is a log that has no name any more, or one whose index has none. Says what
    /// others may still have.
    pub(super) fn lose_log(&mut self, naming: Naming) -> anyhow::Result<Naming> {
        let Some(database) = &mut self.database else { return Ok(naming) };
        let outcome = database.settle_lost_log()?;
        let db = self.path().display();
        match outcome {
            LostLog::Named | LostLog::Copied => warn!(
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
        }
        if outcome == LostLog::Superseded {
            self.sameness = Sameness::Doubtful;
        }
        self.release();
        Ok(if outcome == LostLog::Shared { naming } else { Naming::Same })
    }

    /// The log lacks what is committed, as SQLite sees it.
    pub(super) fn give_up_log(&mut self) {
        let captured = self.capture.as_ref().map_or(0, Capture::undrained_bytes);
        let Some(database) = &self.database else { return };
        // It was there when it was captured.
        if database.log_state().is_ok_and(|log| log.size() < captured) {
            error!(
                db = %self.path().display(),
                "the -wal file was cut off while it was in use: the database may be damaged. \
                 Compare it with its replica"
            );
            self.sameness = Sameness::Doubtful;
        }
        self.release();
    }

    /// Fails as long as anybody may have the log that was removed.
    ///
    /// If there were a connection of ours, that would not be the last one to close it, and SQLite
    /// would not bring what was committed to it into the database file.
    pub(super) fn expect_old_log_closed(&mut self) -> anyhow::Result<()> {
        if self.naming == Naming::LogLost && is_open(self.path())? {
            let context = format!("open database {}", self.path().display());
            return Err(OpenError::LogLost).context(context);
        }
        self.naming = Naming::Same;
        Ok(())
    }

    /// Goes on without what was in the state directory, if that was removed: with what we know.
    pub(super) fn expect_state(&mut self) -> anyhow::Result<()> {
        if !self.state.renew(&self.options.path)? {
            return Ok(());
        }
        error!(
            db = %self.path().display(), path = %self.state.path().display(),
            "the state directory was removed while it was in use, and with it what waited for the \
             replicas. It is made anew: nobody may delete it"
        );
        self.tables_noted_at = None;
        self.lineage.store()?;
        note_again(self.path(), &self.state)?;
        self.abandon("its state was lost");
        Ok(())
    }
}
