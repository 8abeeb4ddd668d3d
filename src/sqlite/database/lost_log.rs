use std::cell::OnceCell;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, IntoInnerError, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::anyhow;
use rusqlite::ErrorCode;

use super::Database;
use super::log::{LOOK_INTERVAL, LOOKS_MAX, Undetermined};
use crate::failpoint::Failpoint;
use crate::sqlite::connection::{CheckpointMode, Outcome};
use crate::sqlite::files::{NamedLog, Naming, found};
use crate::sqlite::shared_lock::is_shared_elsewhere;
use crate::sqlite::{FileId, LogFile, sidecar};
use crate::wal::{FrameHeader, WalHeader};

/// How long to wait for a process that is just opening or closing the database.
const PATIENCE: Duration = Duration::from_millis(100);

/// How many bytes the log of a database may have that lost its name and is in use, until others may
/// empty it.
const LEFT_LOG_MAX: u64 = 16 << 20;

/// What becomes of a log that we hold and that was removed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostLog {
    /// Other processes have the database open, and probably this log.
    Shared,
    /// Nothing of it is lost: it has its name, or got it back, or is in the database file.
    Kept,
    /// Other processes have begun another log. What was not in the database file is lost with this
    /// one.
    Superseded,
    /// It is lost, and does not belong to the database file as the file is now.
    Foreign,
}

/// What becomes of a database that we close because its name is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It is to be closed.
    Left,
    /// Another process has it open, and goes on with it. `is_held`: our read transaction is still
    /// the same.
    InUse { is_held: bool },
}

impl Database {
    /// Gives a log that was removed its name back, if no other process has it: without a name it is
    /// gone when we close it.
    ///
    /// The next process that opens the database finds it as after a crash. If this fails, it must
    /// be called again; otherwise the database is to be closed, and keeps all others out until
    /// then.
    ///
    /// Another process that has the database open keeps us from it. It may have the same log, and
    /// will copy it if it is the last one to close the database; or a new one, in whose place the
    /// old one must not be put. `belongs` says whether the log leads from the database file, as it
    /// is now, to what was captured: the database file may have been replaced as well.
    pub fn settle_lost_log(
        &mut self,
        belongs: impl FnOnce(&Arc<File>, LogFile) -> anyhow::Result<bool>,
    ) -> anyhow::Result<LostLog> {
        (self.spare, self.writer) = (OnceCell::new(), OnceCell::new());
        let outcome = self.try_settle(belongs);
        if outcome.is_err() {
            // The new file would keep a full disk full.
            let _ = fs::remove_file(self.rejoined());
            let held = self.reader.let_others_in().and_then(|()| self.reader.begin_read());
            held.map_err(untyped)?;
        }
        outcome
    }

    fn try_settle(
        &self,
        belongs: impl FnOnce(&Arc<File>, LogFile) -> anyhow::Result<bool>,
    ) -> anyhow::Result<LostLog> {
        if self.files.named_log()? == NamedLog::Same {
            // The next process that opens the database reads it.
            return Ok(LostLog::Kept);
        }
        // There is no transaction if an earlier attempt failed.
        let _ = self.reader.rollback();
        let is_alone = match self.reader.keep_others_out(PATIENCE) {
            // The first page is in the log that others have begun where ours ends. Nobody can read
            // it.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
                !is_shared_elsewhere(&self.file)?
            }
            outcome => outcome.map_err(untyped)?,
        };
        let is_new_index_in_use = !is_alone && self.files.is_new_index_in_use()?;
        if !is_alone && !is_new_index_in_use {
            return Ok(LostLog::Shared);
        }
        // Now either no other process can begin another log, or all of them have begun one.
        let committed = self.committed_by_reader()?;
        if committed.complete() || self.is_of_named_log(committed)? {
            return Ok(LostLog::Kept);
        }
        if is_new_index_in_use
            || (self.files.named_log()? == NamedLog::Other && !self.has_its_index()?)
        {
            return Ok(LostLog::Superseded);
        }
        let Some(log) = self.rejoin(committed)? else { return Ok(LostLog::Superseded) };
        if !belongs(&self.file, log.try_clone()?)? {
            keep(self.files.log(), &log)?;
            return Ok(LostLog::Foreign);
        }
        Failpoint::LostLogNaming.pass()?;
        log.sync()?;
        // Where others could not be kept out, one may have come.
        if is_shared_elsewhere(&self.file)? || self.committed_by_reader()? != committed {
            fs::remove_file(self.rejoined())?;
            return Ok(LostLog::Shared);
        }
        fs::rename(self.rejoined(), self.files.log())?;
        if let Some(directory) = self.files.log().parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(LostLog::Kept)
    }

    /// Whether the log that we have was cut off before all of it was in the database file.
    ///
    /// A process may have written after the cut since. `captured` bytes of the log were there once.
    /// We are in no transaction afterwards.
    pub fn is_log_cut_off(&mut self, captured: u64) -> anyhow::Result<bool> {
        let _ = self.reader.rollback();
        if self.committed_by_reader()?.complete() {
            return Ok(false);
        }
        let log = LogFile::open(self.files.log())?;
        Ok(log.map_or(Ok(true), |log| log.size().map(|size| size < captured))?)
    }

    /// Brings what is in the log into the file that we have open, whose name belongs to another
    /// file now, or to none, and empties the log: it would be taken for that of the other file. An
    /// application that had closed the database would have left no log without us; one that closes
    /// it now leaves the log, for SQLite sees that the name is gone (`databaseIsUnmoved` in
    /// pager.c).
    ///
    /// While another process has our file open, this does nothing, and is to be called again,
    /// unless the log was moved as well. Nor does it touch the log if another process has the other
    /// file open. If our file does not exist any more, the log stays if it belongs to the other
    /// one, as `belongs` says: the other one may be a copy. Otherwise `drain` reads the log to its
    /// end before; an error of it is returned, and changes nothing else. It is given whether
    /// nothing can have been committed since our read transaction ended.
    ///
    /// `opened` gives the other file if this process has it open already: closing a second
    /// descriptor would drop the locks of the first.
    pub fn leave_name(
        &mut self,
        opened: impl FnOnce(FileId) -> Option<Arc<File>>,
        belongs: impl FnOnce(&Arc<File>, LogFile) -> anyhow::Result<bool>,
        drain: impl FnOnce(&Self, bool) -> anyhow::Result<()>,
    ) -> anyhow::Result<Leaving> {
        let other = self.named_file(opened)?;
        if is_shared_elsewhere(&self.file)? {
            if other.is_none() || self.files.named_log()? == NamedLog::Same {
                let is_held = self.stay_unless_in_the_way()?;
                return Ok(Leaving::InUse { is_held });
            }
            // The other file has a log of its own, and may be opened.
            self.is_nameless = true;
            return drain(self, true).map(|()| Leaving::Left);
        }
        if let Some(other) = &other
            && self.file.metadata()?.nlink() == 0
            && let Some(log) = LogFile::of(self.files.log_file().try_clone()?)?
            && belongs(other, log)?
        {
            return Ok(Leaving::Left);
        }
        (self.spare, self.writer) = (OnceCell::new(), OnceCell::new());
        let before = self.files.log_index()?;
        // There is no transaction if an earlier attempt failed.
        let _ = self.end_read();
        if !self.reader.keep_others_out(PATIENCE)? {
            self.reader.let_others_in()?;
            self.reader.begin_read()?;
            return Ok(Leaving::InUse { is_held: false });
        }
        let now = self.files.log_index()?;
        let is_quiet = before.zip(now).is_some_and(|(before, now)| now.is_unchanged_since(&before));
        let is_in_use = || match &other {
            Some(other) => is_shared_elsewhere(other),
            None => self.files.path().try_exists(),
        };
        let is_named = self.files.named_log()? == NamedLog::Same;
        if is_named && is_in_use()? {
            // Whoever opened the other file may have added to our log.
            return Err(anyhow!("an application has opened another file with its log"));
        }
        self.is_nameless = true;
        let drained = drain(self, is_quiet);
        if is_named && !is_in_use()? {
            self.reader.checkpoint(CheckpointMode::Truncate)?;
        }
        drained.map(|()| Leaving::Left)
    }

    /// Ends our read transaction if a process waits for that, or the log grows, in a database of
    /// which nothing more is captured while others have it open. Returns whether it was kept.
    fn stay_unless_in_the_way(&mut self) -> anyhow::Result<bool> {
        let is_kept = self.reader.is_in_transaction()
            && !self.files.may_await_readers()?
            && self.files.log_file().metadata()?.len() < LEFT_LOG_MAX;
        if !is_kept {
            let _ = self.end_read();
        }
        Ok(is_kept)
    }

    /// The file that has the name of the database now.
    fn named_file(
        &self,
        opened: impl FnOnce(FileId) -> Option<Arc<File>>,
    ) -> io::Result<Option<Arc<File>>> {
        let path = self.files.path();
        let Some(named) = found(fs::metadata(path))? else { return Ok(None) };
        match opened(FileId::of(&named)) {
            Some(file) => Ok(Some(file)),
            None => Ok(found(File::open(path))?.map(Arc::new)),
        }
    }

    /// What is committed according to the index that we have. Nobody is writing to it, or not for
    /// long.
    fn committed_by_reader(&self) -> anyhow::Result<Outcome> {
        for _ in 0..LOOKS_MAX {
            let found = self.reader.checkpoint(CheckpointMode::Noop).map_err(untyped)?;
            if found.frames >= 0 {
                return Ok(found);
            }
            sleep(LOOK_INTERVAL);
        }
        Err(Undetermined.into())
    }

    /// Whether the index that we have still has its name: then it also describes the log that has
    /// the name of ours now.
    fn has_its_index(&self) -> io::Result<bool> {
        Ok(self.files.naming()? == Naming::LogLost)
    }

    /// Whether `committed` was found in an index that is still in use, and describes the log that
    /// has the name now. That log was begun when all of the old one had been copied, as every log
    /// is.
    fn is_of_named_log(&self, committed: Outcome) -> anyhow::Result<bool> {
        let Some(log) = LogFile::open(self.files.log())? else { return Ok(false) };
        let Ok(frames) = committed.frames.try_into() else { return Ok(false) };
        Ok(self.has_its_index()? && log.is_committed(frames)?)
    }

    /// The file in which a log is put together.
    fn rejoined(&self) -> PathBuf {
        rejoined(self.files.log())
    }

    /// Puts the committed frames of the log that we hold into a file of their own, with those that
    /// were written after them to a file that SQLite made under its name.
    ///
    /// A process that opened the database with the index that is in use went on there, after a
    /// hole. Returns `None` if the frames do not make a log.
    fn rejoin(&self, committed: Outcome) -> anyhow::Result<Option<LogFile>> {
        let held = self.files.log_file();
        let Some(old) = LogFile::of(held.try_clone()?)? else { return Ok(None) };
        let named = found(File::open(self.files.log()))?;
        // What is after the last commit in the file that we hold is no part of the log; and the
        // other file may be a copy of it that ends earlier.
        let orders = [[named.as_ref(), Some(held)], [Some(held), named.as_ref()]];
        for sources in orders {
            if let Some(log) = self.join(&old.header, committed, &sources)? {
                return Ok(Some(log));
            }
        }
        fs::remove_file(self.rejoined())?;
        Ok(None)
    }

    /// Takes each frame from the first of the sources that has a frame of that log in its place.
    fn join(
        &self,
        header: &WalHeader,
        committed: Outcome,
        sources: &[Option<&File>],
    ) -> anyhow::Result<Option<LogFile>> {
        let mut file = self.create_rejoined()?;
        // Written at once: if this process dies, the next one sees what it was doing.
        file.write_all(&header.to_bytes())?;
        let mut target = BufWriter::with_capacity(1 << 18, file);
        let mut frame = vec![0; usize::try_from(header.page_size.frame_bytes())?];
        let frames = u64::try_from(committed.frames)?;
        for number in 0..frames {
            for source in sources.iter().flatten() {
                let read = source.read_exact_at(&mut frame, header.page_size.wal_bytes(number));
                if read.is_ok() && is_of_log(&frame, header) {
                    break;
                }
            }
            Failpoint::LostLogCopying.pass()?;
            target.write_all(&frame)?;
        }
        let target = target.into_inner().map_err(IntoInnerError::into_error)?;
        let log = LogFile::of(target)?;
        let is_whole = log.as_ref().map_or(Ok(false), |log| log.is_committed(frames))?;
        Ok(log.filter(|_| is_whole))
    }

    /// Makes the file anew, with the owner and the mode of the log that we hold. The owner of the
    /// directory may have put a link there.
    fn create_rejoined(&self) -> io::Result<File> {
        let (path, model) = (self.rejoined(), self.files.log_file().metadata()?);
        found(fs::remove_file(&path))?;
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        // Only root may give files away; for others the owner is right already.
        let _ = fchown(&file, Some(model.uid()), None);
        let _ = fchown(&file, None, Some(model.gid()));
        file.set_permissions(Permissions::from_mode(model.mode() & 0o777))?;
        Ok(file)
    }
}

/// Keeps a log if an earlier process died before giving it its name back, and returns where.
///
/// Must be called before the database is opened. What is in the log may be nowhere else but in a
/// replica.
pub fn keep_unnamed_log(database: &Path) -> io::Result<Option<PathBuf>> {
    let Some(target) = found(database.canonicalize())? else { return Ok(None) };
    let log = sidecar(&target, "-wal");
    let unnamed = LogFile::open(&rejoined(&log))?;
    unnamed.map(|unnamed| keep(&log, &unnamed)).transpose()
}

fn rejoined(log: &Path) -> PathBuf {
    sidecar(log, ".rejoined")
}

/// Gives a log that was put together a name under which it is not taken for that of the database.
fn keep(log: &Path, unnamed: &LogFile) -> io::Result<PathBuf> {
    let salt = u64::from_be_bytes(unnamed.header.salt.0);
    let kept = sidecar(log, &format!(".lost-{salt:016x}"));
    fs::rename(rejoined(log), &kept)?;
    Ok(kept)
}

fn is_of_log(frame: &[u8], header: &WalHeader) -> bool {
    let head = frame.first_chunk().map(FrameHeader::parse);
    head.is_some_and(|head| head.salt == header.salt)
}

/// Hides that an error is one of SQLite, which callers take to mean that nothing holds the log.
fn untyped(error: impl Display) -> io::Error {
    io::Error::other(error.to_string())
}
