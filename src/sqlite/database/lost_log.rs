use std::cell::OnceCell;
use std::io;
use std::time::Duration;

use anyhow::bail;

use super::Database;
use crate::failpoint::Failpoint;
use crate::sqlite::LogFile;
use crate::sqlite::connection::{CheckpointMode, Outcome};
use crate::sqlite::files::{NamedLog, Naming};

/// How long to wait for somebody who is just opening or closing the database.
const PATIENCE: Duration = Duration::from_millis(100);

/// What becomes of a log that we hold and that was removed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostLog {
    /// It still has its name, and only its index was lost: whoever opens the database reads it.
    Named,
    /// Others have the database open, and probably this log.
    Shared,
    /// All of it is in the database file.
    Copied,
    /// Others have begun another log. What was not in the database file is lost with this one.
    Superseded,
}

impl Database {
    /// Copies a log that was removed into the database file, if nobody else can do that: it ends
    /// when we close it. In no transaction afterwards, unless it fails; then to be tried again.
    ///
    /// Somebody else who has the database open keeps us from it. He may have the same log, and will
    /// copy it when he closes the database as the last one; or a new one, which the old one must
    /// not be copied under.
    pub fn settle_lost_log(&mut self) -> anyhow::Result<LostLog> {
        (self.spare, self.writer) = (OnceCell::new(), OnceCell::new());
        self.reader.rollback()?;
        let outcome = self.copy_lost_log();
        if outcome.is_err() {
            self.reader.let_others_in()?;
            self.reader.begin_read()?;
        }
        outcome
    }

    fn copy_lost_log(&self) -> anyhow::Result<LostLog> {
        if !self.reader.keep_others_out(PATIENCE)? {
            return if self.files.is_new_index_in_use()? {
                self.superseded()
            } else {
                Ok(LostLog::Shared)
            };
        }
        // From here on nobody can begin another one.
        match self.files.named_log()? {
            NamedLog::Same => return Ok(LostLog::Named),
            NamedLog::Other => return self.superseded(),
            NamedLog::Nothing => (),
        }
        Failpoint::LostLogCopying.pass()?;
        // No error of SQLite: that would mean to those who see it that nothing holds the log.
        let copied = self.reader.checkpoint(CheckpointMode::Passive).map_err(io::Error::other)?;
        if !copied.complete() {
            bail!("the log was removed, and what is in it cannot be copied to the database file");
        }
        Ok(LostLog::Copied)
    }

    fn superseded(&self) -> anyhow::Result<LostLog> {
        let found = self.reader.checkpoint(CheckpointMode::Noop)?;
        let whole = found.complete() || self.is_of_named_log(found)?;
        Ok(if whole { LostLog::Copied } else { LostLog::Superseded })
    }

    /// Whether that was found in an index that is still in use, and is of the log that has the name
    /// by now. It was begun when all of the old one had been copied, as each is.
    fn is_of_named_log(&self, found: Outcome) -> anyhow::Result<bool> {
        let Some(log) = LogFile::open(self.files.log())? else { return Ok(false) };
        let Ok(frames) = found.frames.try_into() else { return Ok(false) };
        let holds_all = self.page_size.wal_bytes(frames) <= log.size()?;
        Ok(holds_all && self.files.naming()? == Naming::LogLost)
    }
}
