use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode as Mode;
use rusqlite::{ErrorCode, OpenFlags, Result};

use crate::wal::PageSize;

/// How long we wait for a lock of another process, where waiting harms nobody.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// How often we try to take the write lock.
pub(super) const LOCK_INTERVAL: Duration = Duration::from_micros(200);

/// How a checkpoint is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckpointMode {
    /// Copies nothing, and only reports.
    Noop,
    /// Copies what it can without making anyone wait.
    Passive,
    /// Copies all of the log, and empties it.
    Truncate,
}

impl CheckpointMode {
    /// The mode as SQLite names it.
    fn mode(self) -> Mode {
        match self {
            Self::Noop => Mode::NOOP,
            Self::Passive => Mode::PASSIVE,
            Self::Truncate => Mode::TRUNCATE,
        }
    }
}

/// What a checkpoint reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Another connection was in the way.
    pub(super) busy: bool,
    pub(super) frames: i32,
    pub(super) backfilled: i32,
}

impl Outcome {
    /// Another connection was in the way, and nothing is known.
    const BUSY: Self = Self { busy: true, frames: -1, backfilled: -1 };

    /// Whether the whole log is in the database file. Not known (-1) while a process begins a new
    /// one.
    pub(super) fn complete(self) -> bool {
        !self.busy && 0 <= self.frames && self.frames == self.backfilled
    }

    /// Where the frames that are in the database file end in the log. `None`: not known.
    pub(super) fn copied_bytes(self, page_size: PageSize) -> Option<u64> {
        u64::try_from(self.backfilled).ok().map(|frames| page_size.wal_bytes(frames))
    }
}

/// A connection that leaves no trace: neither its use nor its end moves the log.
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

    /// Opens an existing database, and reads from it, to see whether that is possible now.
    ///
    /// A connection that has not read does not know that there is a log (`sqlite3PagerCheckpoint`
    /// in pager.c), and would not checkpoint it.
    pub(super) fn open_reading(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let connection = Self::open(path, BUSY_TIMEOUT)?;
        connection.read()?;
        connection.set_busy_timeout(busy_timeout)?;
        Ok(connection)
    }

    /// Whether we may only read the database. Reads nothing from it.
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

    /// Begins a read transaction at the newest commit. It takes its lock at once: `BEGIN` alone
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

    /// Reads from the database, but not its schema.
    fn read(&self) -> Result<()> {
        self.0.pragma_query_value(None, "user_version", |_| Ok(()))
    }

    /// Takes the write lock, under which nothing is ever written. Returns `false` if a writer did
    /// not let us in.
    ///
    /// SQLite would try ten times a second, and all that a busy application writes in between would
    /// have to be read while it waits for us. The longer no attempt succeeds, the less often we
    /// try.
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

    /// Keeps all others out of the database, whether they share our log or not. Returns `false` if
    /// another connection has it open for longer than `patience`. We must be in no transaction, and
    /// are in none afterwards.
    ///
    /// In exclusive locking mode `sqlite3PagerBegin` in pager.c locks the whole file, and a lock
    /// stays when its transaction ends.
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

    /// Runs a checkpoint, without the pragma, which would read the whole schema and keep it in
    /// memory.
    pub(super) fn checkpoint(&self, mode: CheckpointMode) -> Result<Outcome> {
        match self.0.wal_checkpoint_v2(Some(rusqlite::MAIN_DB), mode.mode()) {
            Ok((frames, backfilled)) => Ok(Outcome { busy: false, frames, backfilled }),
            Err(error) if is_busy(&error) => Ok(Outcome::BUSY),
            Err(error) => Err(error),
        }
    }

    /// Releases the pages that it keeps in memory, except those that its transaction needs.
    pub(super) fn forget_pages(&self) -> Result<()> {
        self.0.release_memory()
    }

    /// The names of all tables, without the shadow tables of virtual ones. Fails also if SQLite
    /// cannot read the schema.
    pub(super) fn tables(&self) -> Result<Vec<String>> {
        let mut names = self.0.prepare(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')",
        )?;
        names.query_map((), |row| row.get(0))?.collect()
    }

    /// The value of a pragma that is a number: `page_size`, `page_count`.
    pub(super) fn number(&self, pragma: &str) -> Result<u32> {
        self.0.pragma_query_value(None, pragma, |row| row.get(0))
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
