use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{OpenFlags, Result};

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
    fn name(self) -> &'static str {
        match self {
            Self::Noop => "NOOP",
            Self::Passive => "PASSIVE",
            Self::Truncate => "TRUNCATE",
        }
    }
}

/// What a checkpoint left to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Somebody else was in the way.
    pub(super) busy: bool,
    pub(super) frames: i64,
    pub(super) backfilled: i64,
}

impl Outcome {
    /// The whole log is in the database file. Not known (-1) while somebody begins a new one.
    pub(super) fn complete(self) -> bool {
        !self.busy && 0 <= self.frames && self.frames == self.backfilled
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
        self.0.pragma_query_value(None, "user_version", |_| Ok(())).inspect_err(|_| {
            let _ = self.rollback();
        })
    }

    /// Takes the write lock. Nothing is ever written under it.
    pub(super) fn begin_write(&self) -> Result<()> {
        self.0.execute_batch("BEGIN IMMEDIATE")
    }

    /// Ends the transaction.
    pub(super) fn rollback(&self) -> Result<()> {
        self.0.execute_batch("ROLLBACK")
    }

    pub(super) fn checkpoint(&self, mode: CheckpointMode) -> Result<Outcome> {
        self.0.query_row(&format!("PRAGMA wal_checkpoint({})", mode.name()), [], |row| {
            Ok(Outcome {
                busy: row.get::<_, i64>(0)? != 0,
                frames: row.get(1)?,
                backfilled: row.get(2)?,
            })
        })
    }

    /// Forgets the pages that it keeps in memory, but for those that its transaction needs.
    pub(super) fn forget_pages(&self) -> Result<()> {
        self.0.execute_batch("PRAGMA shrink_memory")
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
