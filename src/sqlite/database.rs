mod log;
mod lost_log;
mod reading;

use std::cell::OnceCell;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use super::connection::{BUSY_TIMEOUT, CheckpointMode, Connection};
use super::files::{Files, Naming};
use super::fingerprint::Fingerprint;
use super::permission::expect_permission;
use super::shared_lock::{is_log_lost, is_shared_elsewhere};
use super::{FileId, FileIdentity, OpenError};
use crate::failpoint::Failpoint;
use crate::wal::PageSize;
pub use log::Undetermined;
pub use lost_log::{Leaving, LostLog, keep_unnamed_log};
pub use reading::{Gap, Reading};

/// What a checkpoint achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The whole log is in the database file, and our read transaction reads the file alone: while
    /// the transaction lasts, nobody can change the file, and the log may be restarted once, which
    /// loses nothing.
    pub complete: bool,
    /// How long it took: first the wait for other writers, then the time in which none could write.
    pub took: Duration,
}

/// A database in WAL mode, whose log cannot be reset by anyone before we have read it.
///
/// Always holds a read transaction, until its file has lost its name, and except where
/// [`Database::let_pass`] ends it for a moment. SQLite restarts a log only when all of it is in the
/// database file and no transaction reads from the log; and it does not write to the file while a
/// transaction reads the file alone.
#[derive(Debug)]
pub struct Database {
    // Dropped in this order: the file must be closed after the connections.
    /// In a read transaction.
    reader: Connection,
    /// In no transaction, except while it takes over from the reader. Like the writer, it is only
    /// open while it is in use: a connection takes some 20 KB, and as much again for a schema.
    spare: OnceCell<Connection>,
    /// In a write transaction while a checkpoint needs writers to wait.
    writer: OnceCell<Connection>,
    file: Arc<File>,
    /// The metadata of the file, from before it was opened.
    found: Metadata,
    files: Files,
    /// The file has lost its name. The log is read as it was opened, whatever has its name now.
    is_nameless: bool,
    page_size: PageSize,
    stalls: Vec<Duration>,
    /// Lives until our read transaction ends without another one in its place.
    lease: Arc<()>,
    /// The file as it was when all of the log had been copied into it. SQLite writes nothing to it
    /// while the read transaction that we had then lasts.
    frozen: Option<Fingerprint>,
}

impl Database {
    /// Opens a database and takes a read transaction. WAL mode is set if needed.
    ///
    /// `None` while the file does not exist, or is empty: its application has not made it yet.
    ///
    /// `held` is the file of an earlier [`Database`], which may still be read. If it is the same
    /// file, it is used again: with a second descriptor, closing the first would drop our locks.
    pub fn open(path: &Path, held: Option<Arc<File>>) -> Result<Option<Self>, OpenError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if metadata.is_dir() {
            return Err(OpenError::Unusable("it is a directory, not a database file".to_owned()));
        }
        if metadata.len() == 0 {
            return Ok(None);
        }
        if metadata.len() < u64::from(PageSize::MIN) {
            // SQLite would take it for an empty database, and write over it.
            return Err(OpenError::not_a_database());
        }
        expect_permission(path)?;
        let file = match held {
            Some(held) if FileId::of(&held.metadata()?) == FileId::of(&metadata) => held,
            _ => Arc::new(File::open(path)?),
        };
        // Where this cannot be found out, SQLite says what is wrong.
        if is_log_lost(&file, path).unwrap_or(false) {
            return Err(OpenError::LogLost);
        }
        // These questions need the schema, which a connection keeps in memory, so we do not ask the
        // reader, which stays open.
        let writer = Connection::open(path, BUSY_TIMEOUT)?;
        if writer.is_read_only()? {
            // If we went on, we would make a log and an index that its application may not write.
            // We have the permission to write, so what was in the way may pass, as when too many
            // files were open.
            return Err(io::Error::other("it could only be opened for reading").into());
        }
        let mode = writer.ensure_wal_mode()?;
        if mode != "wal" {
            return Err(OpenError::Unusable(format!(
                "it cannot be put into WAL mode, it stays in mode {mode:?}"
            )));
        }
        let page_size = writer.number("page_size")?;
        let page_size = PageSize::new(page_size)
            .ok_or_else(|| OpenError::Unusable(format!("it has pages of {page_size} bytes")))?;
        writer.set_busy_timeout(Duration::ZERO)?;
        let reader = Connection::open(path, BUSY_TIMEOUT)?;
        reader.begin_read()?;
        let (spare, writer) = (OnceCell::new(), OnceCell::from(writer));
        let files = Files::of(path, FileId::of(&file.metadata()?))?;
        let (stalls, lease, frozen) = (Vec::new(), Arc::default(), None);
        let found = metadata;
        let database = Self {
            reader,
            spare,
            writer,
            file,
            found,
            files,
            is_nameless: false,
            page_size,
            stalls,
            lease,
            frozen,
        };
        database.begin_apart().map_err(io::Error::other)?;
        Ok(Some(database))
    }

    /// How long nobody could write because of us, each time since the last call.
    pub fn take_stalls(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.stalls)
    }

    /// Releases memory that is not needed until the database is used again.
    pub fn forget_pages(&self) -> rusqlite::Result<()> {
        let helpers = [&self.spare, &self.writer].into_iter().filter_map(OnceCell::get);
        [&self.reader].into_iter().chain(helpers).try_for_each(Connection::forget_pages)
    }

    /// Releases as much memory as it can until the database is used again, which may not be soon.
    ///
    /// Closing connections loses none of our locks: SQLite keeps the descriptors of a file open
    /// while another connection of the process has a lock on it, as our reader always has, and uses
    /// them again for the next connection (`unixClose` and `findReusableFd` in os_unix.c).
    pub fn rest(&mut self) -> rusqlite::Result<()> {
        (self.spare, self.writer) = (OnceCell::new(), OnceCell::new());
        self.forget_pages()
    }

    fn spare(&self) -> anyhow::Result<&Connection> {
        self.opened(&self.spare, BUSY_TIMEOUT)
    }

    fn writer(&self) -> anyhow::Result<&Connection> {
        self.opened(&self.writer, Duration::ZERO)
    }

    /// A connection in no transaction: SQLite runs a checkpoint on no other.
    fn idle(&self) -> anyhow::Result<&Connection> {
        let spare = self.spare()?;
        if spare.is_in_transaction() { self.writer() } else { Ok(spare) }
    }

    /// Opens a connection if need be.
    fn opened<'a>(
        &self,
        cell: &'a OnceCell<Connection>,
        busy_timeout: Duration,
    ) -> anyhow::Result<&'a Connection> {
        if let Some(connection) = cell.get() {
            return Ok(connection);
        }
        let connection = match Connection::open_reading(self.files.path(), busy_timeout) {
            // Too many files are open, or there is none of that name. Not passed on as an error of
            // SQLite, which callers take to mean that our read transaction may be gone: it is not.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
                return Err(io::Error::other(error).into());
            }
            opened => opened?,
        };
        // A connection to another file would tell us of another log.
        self.files.expect_same()?;
        Ok(cell.get_or_init(|| connection))
    }

    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The names of its tables, as they are now.
    pub fn tables(&self) -> rusqlite::Result<Vec<String>> {
        // A connection that reads the schema keeps it in memory.
        Connection::open(self.files.path(), BUSY_TIMEOUT)?.tables()
    }

    /// While this can be upgraded, there has been no moment without a read transaction of ours.
    pub fn lease(&self) -> Weak<()> {
        Arc::downgrade(&self.lease)
    }

    /// The database file. It must be read with `read_at` only.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Pages of the database at its newest commit. That needs the schema, and is asked of a
    /// connection that does not keep it for long.
    pub fn newest_pages(&self) -> anyhow::Result<u32> {
        Ok(self.writer()?.number("page_count")?)
    }

    /// Pages of the database, as our read transaction sees it.
    pub fn pages(&self) -> rusqlite::Result<u32> {
        self.reader.number("page_count")
    }

    /// The metadata of the file from before it was opened: opening it may have put it into WAL
    /// mode.
    pub fn found(&self) -> &Metadata {
        &self.found
    }

    /// The identity of the file, over restarts too.
    pub fn identity(&self) -> io::Result<FileIdentity> {
        Ok(FileIdentity::of(&self.file.metadata()?))
    }

    /// Whether another process has the database open.
    pub fn is_open_elsewhere(&self) -> io::Result<bool> {
        is_shared_elsewhere(&self.file)
    }

    /// What the names of its files belong to now.
    pub fn naming(&self) -> io::Result<Naming> {
        self.files.naming()
    }

    /// Whether something other than SQLite has written to the file, as `cp` does. If so, that is
    /// certain; but it is seen only between a complete checkpoint and the next one, and only if the
    /// size or the header has changed.
    pub fn was_overwritten(&mut self) -> io::Result<bool> {
        let file = &self.file;
        self.frozen.as_mut().map_or(Ok(false), |frozen| frozen.fits(file).map(|fits| !fits))
    }

    /// Moves our read transaction to the end of the log, so that the log can be copied up to there.
    ///
    /// As for [`Database::checkpoint`], `drain` must read the log to its end, while nobody can
    /// write: if another process has copied all of the log meanwhile, the new transaction does not
    /// keep it from being restarted, and this is a complete checkpoint. Returns `None` if a writer
    /// did not let us in within `patience`.
    pub fn advance(
        &mut self,
        patience: Duration,
        drain: impl FnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<Checkpoint>> {
        let began = Instant::now();
        let complete = self.while_nobody_writes(patience, |database| {
            drain(database)?;
            database.spare()?.begin_read()?;
            database.end_old_read()?;
            database.is_copied()
        })?;
        Ok(self.checkpointed(complete, began))
    }

    /// Copies the log up to our read transaction into the database file, while the application goes
    /// on writing. Returns how many bytes of the log are there, unless another process was copying.
    ///
    /// The file is then synced to disk. SQLite leaves that to the checkpoint that copies the last
    /// frame (`walCheckpoint` in wal.c), which is made while nobody can write.
    pub fn backfill(&mut self) -> anyhow::Result<Option<u64>> {
        let outcome = self.spare()?.checkpoint(CheckpointMode::Passive)?;
        Failpoint::LogCopied.reach();
        // That last checkpoint will meet any error again.
        let _ = self.file.sync_data();
        Ok(outcome.copied_bytes(self.page_size))
    }

    /// Checkpoints the log to its very end.
    ///
    /// While no process can write, `drain` is called and must read the log to its end. If it fails,
    /// our read transaction is kept. Returns `None` if a writer did not let us in within
    /// `patience`.
    pub fn checkpoint(
        &mut self,
        patience: Duration,
        drain: impl FnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<Checkpoint>> {
        let began = Instant::now();
        let complete =
            self.while_nobody_writes(patience, |database| database.checkpoint_alone(drain))?;
        Ok(self.checkpointed(complete, began))
    }

    fn checkpointed(&mut self, complete: Option<bool>, began: Instant) -> Option<Checkpoint> {
        // A file that cannot be looked at now is not known to be frozen.
        self.frozen = complete.filter(|&all| all).and_then(|_| Fingerprint::of(&self.file).ok());
        complete.map(|complete| Checkpoint { complete, took: began.elapsed() })
    }

    /// Holds the write lock while `work` is done. Returns `None` if a writer did not let us in.
    fn while_nobody_writes<T>(
        &mut self,
        patience: Duration,
        work: impl FnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        // Opened before any writer waits.
        self.spare()?;
        if !self.writer()?.begin_write(patience)? {
            return Ok(None);
        }
        self.frozen = None;
        let began = Instant::now();
        let outcome = work(self);
        // Released after an error as well: the application waits.
        let released = self.writer()?.rollback();
        self.stalls.push(began.elapsed());
        let value = outcome?;
        released?;
        Ok(Some(value))
    }

    fn checkpoint_alone(
        &mut self,
        drain: impl FnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        drain(self)?;
        let spare = self.spare()?;
        self.reader.rollback()?;
        let outcome = spare.checkpoint(CheckpointMode::Passive);
        Failpoint::LogBackfilled.reach();
        // Begun again whatever the checkpoint has come to. We were without a read transaction only
        // while we had the write lock, so nothing can have been appended to the log, and nobody can
        // have restarted it.
        self.reader.begin_read()?;
        // Another process may have copied the rest meanwhile. Then our read transaction reads the
        // file alone and does not keep the log from being restarted, so the checkpoint must count
        // as complete. Looked at after the transaction has begun: if the rest is not copied by
        // then, the transaction keeps the log.
        Ok(outcome?.complete() || self.is_copied()?)
    }

    /// Empties the log after a complete checkpoint, so that whatever is written next begins a new
    /// one. Returns whether that succeeded.
    ///
    /// This cannot lose anything: our read transaction reads the file alone, so a frame that was
    /// written since cannot be copied to it, and then the log is not emptied either.
    pub fn truncate_log(&mut self) -> anyhow::Result<bool> {
        let spare = self.spare()?;
        spare.set_busy_timeout(Duration::ZERO)?;
        let outcome = spare.checkpoint(CheckpointMode::Truncate);
        spare.set_busy_timeout(BUSY_TIMEOUT)?;
        Ok(outcome?.complete())
    }
}
