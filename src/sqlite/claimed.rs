use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::paths::sidecar;

/// A database that no other process can use, and whose file alone holds all of it.
///
/// Others are kept out until the value is dropped, by SQLite's own lock. Dropping it touches no
/// file, so another file may have taken the name of the database by then.
#[derive(Debug)]
pub struct Claimed {
    _connection: Connection,
}

/// Why a database cannot be claimed.
#[derive(Debug)]
pub enum ClaimError {
    /// Another process has it open.
    Busy,
    /// It is empty, or SQLite finds that it is no database, or one that was cut off.
    NoDatabase(anyhow::Error),
    Other(anyhow::Error),
}

impl Claimed {
    /// Brings what is in the log or the journal of `database` into its file.
    pub fn claim(database: &Path) -> Result<Self, ClaimError> {
        // SQLite would delete a log beside an empty file, which may be all that is left.
        let length = database.metadata().map_err(|error| ClaimError::Other(error.into()))?.len();
        if length == 0 {
            return Err(ClaimError::NoDatabase(anyhow!("it is empty")));
        }
        let connection = lock(database)?;
        remove_empty_log(database).map_err(ClaimError::Other)?;
        Ok(Self { _connection: connection })
    }
}

fn lock(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // In this mode a lock stays when its transaction ends, and there is no `-shm` file.
    connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    // Rolls back what is left in a journal. Nothing is written in this transaction.
    connection.execute_batch("PRAGMA synchronous = full; BEGIN EXCLUSIVE; COMMIT")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(connection)
}

/// Removes the log that the checkpoint has emptied, and trusts no other sign that it has.
fn remove_empty_log(database: &Path) -> anyhow::Result<()> {
    let log = sidecar(database, "-wal");
    match log.symlink_metadata() {
        Ok(found) if found.len() > 0 => bail!("{} could not be emptied", log.display()),
        Ok(_) => std::fs::remove_file(&log).with_context(|| format!("remove {}", log.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", log.display())),
    }
}

impl From<rusqlite::Error> for ClaimError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::NoDatabase(error.into())
            }
            _ => Self::Other(error.into()),
        }
    }
}
