use std::io;
use std::time::{Duration, Instant};

use super::{CheckpointMode, Connection, Database, Files, Fingerprint};
use crate::sqlite::connection::LOCK_INTERVAL;

/// How long a checkpoint that just begins is let pass before our read transaction is moved. One
/// that takes longer is past its beginning, and may wait for us.
const BEGINNING_MAX: Duration = Duration::from_millis(5);

/// The same for our first one, which nobody can wait for. So long sleeps who finds a place taken.
const BEGINNING_MAX_FIRST: Duration = Duration::from_millis(150);

/// A read transaction that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// So many bytes of the log were committed when it began, at least.
    pub end: u64,
    /// All of the log is in the database file, as after a complete checkpoint.
    pub complete: bool,
}

/// Begins a read transaction, not while a checkpoint of somebody else begins that wants all of the
/// log, unless that takes longer than `patience`.
///
/// He looks how far each reader is, and where one is too far behind, he waits for its place to be
/// free, whoever has it by then and however far that one is (`walCheckpoint` in wal.c). A place
/// that we took just in between we would keep: moved again, our transaction gets the one that is
/// furthest, which is its own.
fn begin_read(reader: &Connection, files: &Files, patience: Duration) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        reader.begin_read()?;
        if began.elapsed() >= patience || !files.may_await_readers().unwrap_or(false) {
            return Ok(());
        }
        reader.rollback()?;
        std::thread::sleep(LOCK_INTERVAL);
    }
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
        if begin_read(self.spare()?, &self.files, BEGINNING_MAX).is_err() {
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

    /// Moves our first read transaction, for whose place somebody else's checkpoint may have begun
    /// to wait before we had it: see [`begin_read`].
    pub(super) fn begin_apart(&self) -> anyhow::Result<()> {
        if self.files.may_await_readers()? {
            self.reader.rollback()?;
            begin_read(&self.reader, &self.files, BEGINNING_MAX_FIRST)?;
        }
        Ok(())
    }

    /// Whether another process has the write lock.
    pub fn is_being_written(&self) -> io::Result<bool> {
        self.files.is_being_written()
    }

    /// Whether a checkpoint of another process may be waiting for read transactions to end.
    pub fn may_await_readers(&self) -> io::Result<bool> {
        self.files.may_await_readers()
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
