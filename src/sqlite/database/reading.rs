use std::io;
use std::time::Duration;

use super::{CheckpointMode, Database, Fingerprint};

/// A read transaction that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// So many bytes of the log were committed when it began, at least.
    pub end: u64,
    /// All of the log is in the database file, as after a complete checkpoint.
    pub complete: bool,
}

impl Database {
    /// Moves our read transaction to the end of the log while others go on writing. Nobody who
    /// wants all of the log copied, or restarted, has to wait for us then, with all writers waiting
    /// for him (`SQLITE_CHECKPOINT_FULL`, `RESTART` and `TRUNCATE`).
    ///
    /// `capture` must read the log to its end, and say whether it could. The new transaction has
    /// begun by then. What is committed later cannot be copied while that lasts, and the log not be
    /// restarted before all of it was; what was committed before is read. Only then the old one
    /// ends: until then the log is kept by that.
    ///
    /// `None` if the old one stays, as it does after an error.
    pub fn keep_up(
        &mut self,
        capture: impl FnOnce(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Option<Reading>> {
        if self.spare().is_err() {
            // Files are short, perhaps, as when many databases end at once.
            return capture(self).map(|_| None);
        }
        let (end, was_copied) = (self.committed_bytes()?, self.is_copied()?);
        if self.spare()?.begin_read().is_err() {
            // What is wrong is met again by those who can do nothing without it.
            return capture(self).map(|_| None);
        }
        match capture(self) {
            Ok(true) => self.end_old_read()?,
            kept => {
                self.spare()?.rollback()?;
                return kept.map(|_| None);
            }
        }
        self.frozen = None;
        // If it was copied before, the new transaction reads the file alone, unless whoever copied
        // it was just about to let others do that. It is moved once more otherwise: one that reads
        // from the log keeps it from being restarted.
        let complete = was_copied && self.is_copied()?;
        if complete {
            self.frozen = Fingerprint::of(&self.file).ok();
        }
        Ok(Some(Reading { end, complete }))
    }

    /// Whether our read transaction reads the database file alone, and so keeps nobody from
    /// restarting the log.
    pub fn is_aside(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether somebody has the write lock. If nobody has, it is ours for an instant.
    pub fn is_being_written(&self) -> anyhow::Result<bool> {
        let writer = self.writer()?;
        let is_free = writer.begin_write(Duration::ZERO)?;
        if is_free {
            writer.rollback()?;
        }
        Ok(!is_free)
    }

    /// Whether all of the log is in the database file.
    pub fn is_copied(&self) -> anyhow::Result<bool> {
        // No error of SQLite for those who want to know whether our read transaction can be relied
        // on: it can.
        Ok(self.idle()?.checkpoint(CheckpointMode::Noop).map_err(io::Error::other)?.complete())
    }

    /// Goes on with the read transaction that was begun by the other connection.
    pub(super) fn end_old_read(&mut self) -> anyhow::Result<()> {
        self.spare()?;
        if let Some(spare) = self.spare.get_mut() {
            std::mem::swap(&mut self.reader, spare);
        }
        Ok(self.spare()?.rollback()?)
    }
}
