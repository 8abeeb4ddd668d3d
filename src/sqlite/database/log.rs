use std::thread::sleep;
use std::time::Duration;
use std::{fmt, io};

use super::Database;
use crate::sqlite::connection::CheckpointMode;
use crate::sqlite::{LacksCommits, LogFile, LogState, LogView};
use crate::wal::Checksum;

/// How many times to ask how much of the log is committed, while that is being changed.
pub(super) const LOOKS_MAX: u32 = 100;

/// How many times to look for a log in which something is committed, while it is being begun.
const EMPTY_LOOKS_MAX: u32 = 10;

pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// It cannot be told how much of a log is committed, for a long while. Whatever is the matter with
/// its index, nobody should have to wait for our locks on it.
#[derive(Debug)]
pub struct Undetermined;

impl fmt::Display for Undetermined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot be told how much of the log is committed")
    }
}

impl std::error::Error for Undetermined {}

impl Database {
    /// The log, if there is one. An error if the name of the database or of the log belongs to
    /// another file now: then the log may be that of another database.
    ///
    /// The error is [`LacksCommits`] if something is committed, and there is no log.
    pub fn log(&self) -> anyhow::Result<Option<LogFile>> {
        for _ in 0..EMPTY_LOOKS_MAX {
            let log = self.log_as_it_is()?;
            // A process that empties a log first writes to the index that nothing is committed, and
            // one that begins a log writes afterwards what is.
            if log.is_some() || self.committed_frames()? == 0 {
                return Ok(log);
            }
            sleep(LOOK_INTERVAL);
        }
        Err(LacksCommits.into())
    }

    fn log_as_it_is(&self) -> io::Result<Option<LogFile>> {
        if self.is_nameless {
            return LogFile::of(self.files.log_file().try_clone()?);
        }
        let log = LogFile::open(self.files.log())?;
        self.files.expect_same()?;
        Ok(log)
    }

    /// Looks for the last commit in its log after `offset`. `checksum` is that of the frame that
    /// ends there.
    pub fn view(&self, log: &LogFile, offset: u64, checksum: Checksum) -> anyhow::Result<LogView> {
        // Asked after the header of the log was read, so that the answer cannot be about an earlier
        // log.
        let committed = log.header.page_size.wal_bytes(self.committed_frames()?);
        log.view(offset, checksum, committed)
    }

    /// How many frames of the log SQLite takes for committed.
    ///
    /// The file may hold more of them, and a commit among them: of a process that is about to write
    /// that to the index, or that died, or whose disk failed, before it could. The next writer
    /// overwrites those.
    fn committed_frames(&self) -> anyhow::Result<u64> {
        for _ in 0..LOOKS_MAX {
            if let Some(frames) = self.look_for_commits()? {
                return Ok(frames);
            }
            // A process is writing that to the index just now.
            sleep(LOOK_INTERVAL);
        }
        Err(Undetermined.into())
    }

    fn look_for_commits(&self) -> anyhow::Result<Option<u64>> {
        if self.is_nameless {
            // No connection can be opened any more.
            return Ok(self.files.log_index()?.map(|index| index.committed_frames()));
        }
        let found = self.idle()?.checkpoint(CheckpointMode::Noop).map_err(io::Error::other)?;
        Ok(found.frames.try_into().ok())
    }

    /// Where in the log its last commit ends.
    pub fn committed_bytes(&self) -> anyhow::Result<u64> {
        Ok(self.page_size.wal_bytes(self.committed_frames()?))
    }

    /// What can be seen of the log from outside.
    pub fn log_state(&self) -> io::Result<LogState> {
        LogState::of(self.files.log())
    }

    /// Bytes of the log, left-overs of earlier logs included.
    pub fn log_bytes(&self) -> anyhow::Result<u64> {
        Ok(self.log()?.map_or(Ok(0), |log| log.size())?)
    }

    /// Syncs the log to disk. The next checkpoint does that before it copies anything, and then has
    /// little left to do.
    pub fn sync_log(&self) -> anyhow::Result<()> {
        Ok(self.log()?.map_or(Ok(()), |log| log.sync())?)
    }
}
