use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode as Mode;
use rusqlite::{ErrorCode, OpenFlags, Result};

use crate::wal::PageSize;

/// How long we wait for a lock of somebody else, where waiting harms nobody.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// How often we look whether the write lock is free.
pub(super) const LOCK_INTERVAL: Duration = Duration::from_micros(200);

/// How a checkpoint is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckpointMode {
    /// Only looks.
    Noop,
    /// Copies what it can while nobody waits for it.
    Passive,
    /// Copies all of the log, and empties it.
    Truncate,
}

impl CheckpointMode {
    /// As SQLite names it.
    fn mode(self) -> Mode {
        match self {
            Self::Noop => Mode::NOOP,
            Self::Passive => Mode::PASSIVE,
            Self::Truncate => Mode::TRUNCATE,
        }
    }
}

/// What a checkpoint left to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Somebody else was in the way.
    pub(super) busy: bool,
    pub(super) frames: i32,
    pub(super) backfilled: i32,
}

impl Outcome {
    /// Somebody was in the way, and nothing is known.
    const BUSY: Self = Self { busy: true, frames: -1, backfilled: -1 };

    /// The whole log is in the database file. Not known (-1) while somebody begins a new one.
    pub(super) fn complete(self) -> bool {
        !self.busy && 0 <= self.frames && self.frames == self.backfilled
    }

    /// Where in the log those frames end that are in the database file. `None`: not known.
    pub(super) fn copied_bytes(self, page_size: PageSize) -> Option<u64> {
        u64::try_from(self.backfilled).ok().map(|frames| page_size.wal_bytes(frames))
    }
}

/// A connection that leaves no trace: neither its work nor its end moves the log.
#[derive(Debug)]
pub(super) struct Connection(rusqlite::Connection);

impl Connection {
    /// Opens an existing database. It is never created.
    pub(super) fn open(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy_timeout)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(Self(connection))
    }

    /// The same, and looks whether it is a database that can be read now. Without that a connection
    /// does not know that there is a log (`sqlite3PagerCheckpoint` in pager.c), and would not
    /// checkpoint it.
    pub(super) fn open_reading(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let connection = Self::open(path, BUSY_TIMEOUT)?;
        connection.read()?;
        connection.set_busy_timeout(busy_timeout)?;
        Ok(connection)
    }

    /// Whether we may only read the database. Looks at nothing in it.
    pub(super) fn is_read_only(&self) -> Result<bool> {
        self.0.is_readonly(rusqlite::MAIN_DB)
    }

    pub(super) fn set_busy_timeout(&self, timeout: Duration) -> Result<()> {
        self.0.busy_timeout(timeout)
    }

    /// The journal mode, after asking for WAL mode if it is another one.
    pub(super) fn ensure_wal_mode(&self) -> Result<String> {
        let mode: String = self.0.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode == "wal" {
            return Ok(mode);
        }
        self.0.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
    }

    /// Begins a read transaction at the newest commit. It takes its lock at once: a mere `BEGIN`
    /// takes none.
    pub(super) fn begin_read(&self) -> Result<()> {
        self.0.execute_batch("BEGIN")?;
        self.read().inspect_err(|_| {
            let _ = self.rollback();
        })
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        !self.0.is_autocommit()
    }

    /// Reads from the database, but for its schema.
    fn read(&self) -> Result<()> {
        self.0.pragma_query_value(None, "user_version", |_| Ok(()))
    }

    /// Takes the write lock, under which nothing is ever written. `false` if a writer did not let
    /// us in.
    ///
    /// SQLite would look ten times a second. What a busy application writes in between would have
    /// to be read while it waits. One that lets nobody in for longer is looked at less often.
    pub(super) fn begin_write(&self, patience: Duration) -> Result<bool> {
        let began = Instant::now();
        loop {
            match self.0.execute_batch("BEGIN IMMEDIATE") {
                Err(error) if is_busy(&error) && began.elapsed() < patience => {
                    std::thread::sleep(LOCK_INTERVAL.max(began.elapsed() / 10));
                }
                Err(error) if is_busy(&error) => return Ok(false),
                outcome => return outcome.map(|()| true),
            }
        }
    }

    /// Keeps all others out of the database, whether they have a log in common with us or not.
    /// `false` if somebody has it open for longer than `patience`. In no transaction, before and
    /// after.
    ///
    /// In this mode `sqlite3PagerBegin` in pager.c locks the whole file, and a lock stays when its
    /// transaction ends.
    pub(super) fn keep_others_out(&self, patience: Duration) -> Result<bool> {
        self.set_busy_timeout(patience)?;
        self.0.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
        match self.0.execute_batch("BEGIN IMMEDIATE") {
            Err(error) if is_busy(&error) => Ok(false),
            outcome => outcome.and_then(|()| self.rollback()).map(|()| true),
        }
    }

    /// Lets others in again.
    pub(super) fn let_others_in(&self) -> Result<()> {
        self.set_busy_timeout(BUSY_TIMEOUT)?;
        self.0.pragma_update_and_check(None, "locking_mode", "normal", |_| Ok(()))?;
        // The lock is given up at the end of the next transaction.
        self.0.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
    }

    /// Ends the transaction.
    pub(super) fn rollback(&self) -> Result<()> {
        self.0.execute_batch("ROLLBACK")
    }

    /// Unlike the pragma, which reads the whole schema first, and keeps it in memory.
    pub(super) fn checkpoint(&self, mode: CheckpointMode) -> Result<Outcome> {
        match self.0.wal_checkpoint_v2(Some(rusqlite::MAIN_DB), mode.mode()) {
            Ok((frames, backfilled)) => Ok(Outcome { busy: false, frames, backfilled }),
            Err(error) if is_busy(&error) => Ok(Outcome::BUSY),
            Err(error) => Err(error),
        }
    }

    /// Forgets the pages that it keeps in memory, but for those that its transaction needs.
    pub(super) fn forget_pages(&self) -> Result<()> {
        self.0.release_memory()
    }

    /// The names of all tables, without those that an index of a virtual one is made of. An error
    /// also if it is a schema that SQLite cannot read.
    pub(super) fn tables(&self) -> Result<Vec<String>> {
        let mut names = self.0.prepare(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')",
        )?;
        names.query_map((), |row| row.get(0))?.collect()
    }

    /// A number that SQLite knows of the database: `page_size`, `page_count`.
    pub(super) fn number(&self, pragma: &str) -> Result<u32> {
        self.0.pragma_query_value(None, pragma, |row| row.get(0))
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
