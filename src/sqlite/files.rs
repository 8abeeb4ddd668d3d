use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::log_index::LogIndex;
use super::shared_lock::{is_index_in_use, is_write_locked, may_await_readers};
use super::{FileId, OpenError, sidecar};

/// The files of a database that is open, and the names that they had when it was opened.
///
/// SQLite keeps them open and never asks again what their names belong to. We read the log by its
/// name, and the next process that opens the database goes by the names as well.
#[derive(Debug)]
pub(super) struct Files {
    /// As it was given.
    path: PathBuf,
    log: PathBuf,
    index: PathBuf,
    database: FileId,
    /// Kept open: if its name is removed, no other process may have it.
    log_file: File,
    log_id: FileId,
    /// Kept open as well, until all connections are closed: closing it would drop all locks that
    /// this process has on it.
    index_file: File,
    index_id: FileId,
}

/// What the names of a database's files belong to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    Same,
    /// The database was replaced by another file, or removed.
    DatabaseLost,
    /// The index of the log was replaced or removed, perhaps with the log. SQLite keeps both while
    /// any process has the database open: something other than SQLite removed them, or a process
    /// that did not see our locks.
    IndexLost,
    /// The log was replaced or removed, and not its index.
    LogLost,
}

/// What the name of the log belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedLog {
    Same,
    /// Another log, to which a process has written.
    Other,
    /// No log, or one to which no process has written yet.
    Nothing,
}

impl Files {
    /// The files of a database on which a read transaction was begun: that makes the log and its
    /// index. `database` is the file that is open under the name `path`.
    pub(super) fn of(path: &Path, database: FileId) -> Result<Self, OpenError> {
        // For a link, SQLite keeps them beside what the link leads to.
        let target = path.canonicalize()?;
        let (log, index) = (sidecar(&target, "-wal"), sidecar(&target, "-shm"));
        let opened = (found(File::open(&log))?, found(File::open(&index))?);
        let (Some(log_file), Some(index_file)) = opened else { return Err(OpenError::LogLost) };
        let [log_id, index_id] =
            [log_file.metadata()?, index_file.metadata()?].map(|found| FileId::of(&found));
        let path = path.to_owned();
        Ok(Self { path, log, index, database, log_file, log_id, index_file, index_id })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The log that was there when the database was opened, whatever its name belongs to now.
    pub(super) fn log_file(&self) -> &File {
        &self.log_file
    }

    pub(super) fn naming(&self) -> io::Result<Naming> {
        Ok(if id(&self.path)? != Some(self.database) {
            Naming::DatabaseLost
        } else if id(&self.index)? != Some(self.index_id) {
            Naming::IndexLost
        } else if id(&self.log)? != Some(self.log_id) {
            Naming::LogLost
        } else {
            Naming::Same
        })
    }

    /// Whether another process has the write lock.
    pub(super) fn is_being_written(&self) -> io::Result<bool> {
        is_write_locked(&self.index_file)
    }

    /// Whether a checkpoint of another process may be waiting for read transactions to end.
    pub(super) fn may_await_readers(&self) -> io::Result<bool> {
        may_await_readers(&self.index_file)
    }

    /// What the index says of the log. `None` if it is being written just now, as by a process that
    /// commits.
    pub(super) fn log_index(&self) -> io::Result<Option<LogIndex>> {
        LogIndex::read(&self.index_file)
    }

    /// What the name of the log belongs to.
    pub(super) fn named_log(&self) -> io::Result<NamedLog> {
        Ok(match found(fs::metadata(&self.log))? {
            Some(found) if FileId::of(&found) == self.log_id => NamedLog::Same,
            Some(found) if found.len() > 0 => NamedLog::Other,
            _ => NamedLog::Nothing,
        })
    }

    /// Whether another process has an index open that took the place of ours, and so not our log.
    pub(super) fn is_new_index_in_use(&self) -> io::Result<bool> {
        // If it is ours, we would lose our locks.
        Ok(id(&self.index)?.is_some_and(|found| found != self.index_id)
            && is_index_in_use(&self.index)?)
    }

    /// Fails unless all names belong to the files that are open. Asked after something was read by
    /// one of the names: what was read may otherwise be of another database, or of another log.
    pub(super) fn expect_same(&self) -> io::Result<()> {
        match self.naming()? {
            Naming::Same => Ok(()),
            Naming::DatabaseLost => {
                Err(io::Error::other("the database file was replaced or removed"))
            }
            Naming::IndexLost | Naming::LogLost => {
                Err(io::Error::other("the log was replaced or removed"))
            }
        }
    }
}

fn id(path: &Path) -> io::Result<Option<FileId>> {
    Ok(found(fs::metadata(path))?.map(|metadata| FileId::of(&metadata)))
}

/// What was found, or `None` if there is no such file.
pub(super) fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
