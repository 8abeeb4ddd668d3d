use std::{fmt, io};

use rusqlite::ErrorCode;

/// Why a database cannot be replicated.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has locked it. That may pass.
    Locked,
    /// A process that has it open has a log, or an index of it, that was removed or replaced; or
    /// has the log, with a file that the database was put in the place of.
    LogLost,
    /// Trying again will not help: what is wrong, and what to do about it.
    Unusable(String),
    Io(io::Error),
}

impl OpenError {
    pub(super) fn not_a_database() -> Self {
        Self::Unusable("it is not a SQLite database, or it is encrypted".to_owned())
    }

    pub(super) fn not_permitted(reason: impl fmt::Display) -> Self {
        Self::Unusable(format!(
            "{reason}: the daemon must be able to read and write the database and its directory, \
             because readers of a WAL database share locks with its writers"
        ))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str(
                "the database is locked by another process: is it in exclusive locking mode, or in \
                 a long transaction? Replication needs `PRAGMA locking_mode = normal`",
            ),
            Self::LogLost => f.write_str(
                "the -wal or -shm file of the database, or the database itself, was removed or \
                 replaced while an application has it open, which goes on with the old one: end \
                 that, so that SQLite brings what was committed into the database file",
            ),
            Self::Unusable(reason) => f.write_str(reason),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::not_permitted(error)
            }
            _ => Self::Io(error),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::NotADatabase) => Self::not_a_database(),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::not_permitted(error),
            _ => Self::Io(io::Error::other(error)),
        }
    }
}
