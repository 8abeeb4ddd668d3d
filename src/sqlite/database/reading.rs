use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CheckpointMode, Connection, Database, Files, Fingerprint};
use crate::sqlite::connection::LOCK_INTERVAL;
use crate::sqlite::log_index::LogIndex;

/// How long to let a checkpoint that is just beginning pass before our read transaction is moved.
/// One that takes longer is past its beginning, and may be waiting for us.
const BEGINNING_MAX: Duration = Duration::from_millis(5);

/// How long to let one pass before our first read transaction, which nobody can be waiting for.
/// SQLite sleeps that long when a read mark is taken.
const BEGINNING_MAX_FIRST: Duration = Duration::from_millis(150);

/// How long to be without a read transaction, at most, so that a checkpoint can pass: one that
/// waits tries again ten times a second (`sqliteDefaultBusyCallback` in main.c of SQLite).
const PASSING_MAX: Duration = Duration::from_millis(120);

/// A read transaction that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// At least this many bytes of the log were committed when it began.
    pub end: u64,
    /// All of the log is in the database file, as after a complete checkpoint.
    pub complete: bool,
}

/// A time in which we had no read transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// There was none.
    None,
    /// Nothing was committed in it.
    Quiet,
    /// Something may have been committed in it, and may be in no log any more.
    Unwatched,
}

/// Begins a read transaction, but not while another process begins a checkpoint of all of the log,
/// unless that takes longer than `patience`.
///
/// Such a checkpoint looks how far each reader is. Where one is not far enough, it waits for that
/// reader's read mark to be free, whichever reader has the mark by then, and however far that one
/// is (`walCheckpoint` in wal.c). A mark that we took just in between we would keep: moved again,
/// our transaction gets the mark that is furthest, which is its own.
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
    /// Moves our read transaction to the end of the log while others go on writing. Then a
    /// checkpoint that wants all of the log copied, or restarted (`SQLITE_CHECKPOINT_FULL`,
    /// `RESTART` and `TRUNCATE`), does not have to wait for us, with all writers waiting for it.
    ///
    /// `capture` must read the log to its end, and return whether it could. The new transaction has
    /// begun by then. What is committed later cannot be copied while the new transaction lasts, and
    /// the log cannot be restarted before all of it is copied; what was committed before is read.
    /// Only then does the old transaction end: until then it keeps the log.
    ///
    /// Returns `None` if the old transaction stays, as it does after an error.
    pub fn keep_up(
        &mut self,
        capture: impl FnOnce(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Option<Reading>> {
        if self.spare().is_err() {
            // File descriptors may have run out, as when many databases stop at once.
            return capture(self).map(|_| None);
        }
        let (end, was_copied) = (self.committed_bytes()?, self.is_copied()?);
        if begin_read(self.spare()?, &self.files, BEGINNING_MAX).is_err() {
            // Those who can do nothing without a read transaction will meet the error again.
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
        // If all of the log was copied before, the new transaction reads the file alone, unless the
        // process that copied it was just about to let others do that. If it was only copied since,
        // our transaction is moved again: one that reads from the log keeps it from being
        // restarted.
        let complete = was_copied && self.is_copied()?;
        if complete {
            self.frozen = Fingerprint::of(&self.file).ok();
        }
        Ok(Some(Reading { end, complete }))
    }

    /// Ends our read transaction and begins another, so that a checkpoint can pass that waits for
    /// the very read mark at the end of the log, which a reader took just as it looked: see
    /// `begin_read`. Moved, our transaction would have that mark again.
    ///
    /// `end` is how far the log was read. Nothing is done unless a checkpoint waits that is to copy
    /// the log to there. While it waits, nobody can write; but it may be gone a moment before we
    /// notice. After an error of SQLite there may be no read transaction.
    pub fn let_pass(&mut self, end: u64) -> anyhow::Result<Gap> {
        let Some(before) = self.files.log_index()? else { return Ok(Gap::None) };
        let is_waiting = |now: &LogIndex| now.committed_bytes() == end && !now.is_all_copying();
        if !is_waiting(&before) || !self.files.may_await_readers()? {
            return Ok(Gap::None);
        }
        self.end_read()?;
        let began = Instant::now();
        while began.elapsed() < PASSING_MAX
            && self.files.may_await_readers().unwrap_or(false)
            && self.files.log_index().is_ok_and(|now| now.as_ref().is_none_or(is_waiting))
        {
            std::thread::sleep(LOCK_INTERVAL);
        }
        self.reader.begin_read()?;
        // If this process was halted meanwhile, there was time for all that is unlikely.
        let is_short = began.elapsed() < 2 * PASSING_MAX;
        Ok(match self.files.log_index() {
            Ok(Some(after)) if is_short && after.is_unchanged_since(&before) => Gap::Quiet,
            _ => Gap::Unwatched,
        })
    }

    /// Whether our read transaction reads the database file alone, and so keeps nobody from
    /// restarting the log.
    pub fn is_aside(&self) -> bool {
        self.frozen.is_some()
    }

    /// Moves our first read transaction: a checkpoint of another process may have begun to wait for
    /// its read mark before we had it, see [`begin_read`].
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
        // Not passed on as an error of SQLite, which callers take to mean that our read transaction
        // may be gone: it is not.
        Ok(self.idle()?.checkpoint(CheckpointMode::Noop).map_err(io::Error::other)?.complete())
    }

    /// Ends our read transaction, with none in its place.
    pub(super) fn end_read(&mut self) -> rusqlite::Result<()> {
        (self.frozen, self.lease) = (None, Arc::default());
        self.reader.rollback()
    }

    /// Ends the old read transaction, and goes on with the one that the spare connection has begun.
    pub(super) fn end_old_read(&mut self) -> anyhow::Result<()> {
        self.spare()?;
        if let Some(spare) = self.spare.get_mut() {
            std::mem::swap(&mut self.reader, spare);
        }
        Ok(self.spare()?.rollback()?)
    }
}
