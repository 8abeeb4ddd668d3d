use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::files::found;
use super::log_index::LogIndex;
use super::sidecar;

/// The bytes of the shared lock, as defined in `os.h` of SQLite.
const SHARED: (u64, u64) = (0x4000_0002, 510);

/// The byte of the `-shm` file that each connection which has it open holds a lock on:
/// `UNIX_SHM_DMS` in `os_unix.c` of SQLite.
const INDEX_OPEN: (u64, u64) = (128, 1);

/// The bytes of the `-shm` file that a writer holds a lock on, and a checkpointer: `WAL_WRITE_LOCK`
/// and `WAL_CKPT_LOCK` in wal.c.
const WRITE: (u64, u64) = (120, 1);
const CHECKPOINT: (u64, u64) = (121, 1);

/// Where the header of a database says how it is read, and the value that stands for WAL mode.
const READ_VERSION_AT: u64 = 19;
const WAL: u8 = 2;

/// How many times to look, and how often: a connection takes the lock on the index a little later
/// than the one on the database, and gives it up a little earlier.
const LOOKS: u32 = 10;
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Whether another process has the database open: each connection in WAL mode has a shared lock
/// on the file for as long as it lives (`pager_unlock` in pager.c). In other modes it has one only
/// while it reads or writes.
pub(super) fn is_shared_elsewhere(database: &File) -> io::Result<bool> {
    Ok(holder(database, SHARED)?.is_some())
}

/// Whether another process has the database at a path open. `false` if there is none.
///
/// This process must not have it open: it would lose its locks.
pub fn is_open(database: &Path) -> io::Result<bool> {
    found(File::open(database))?.map_or(Ok(false), |file| is_shared_elsewhere(&file))
}

/// Whether the processes that have the database open have a log, or an index of it, that was
/// removed, replaced or cut off; or whether others have the log open, with another database: this
/// one was put in the place of that.
///
/// Without a common index neither side sees the locks of the other: a checkpoint by one would
/// destroy what the other writes. Without a common log neither sees what the other commits.
///
/// Must be asked before this process opens the database: later it would lose its locks on the
/// index.
pub(super) fn is_log_lost(database: &File, path: &Path) -> io::Result<bool> {
    let target = path.canonicalize()?;
    let (log, index) = (sidecar(&target, "-wal"), sidecar(&target, "-shm"));
    let mut version = [0];
    database.read_exact_at(&mut version, READ_VERSION_AT)?;
    for look in 0..LOOKS {
        if look > 0 {
            sleep(LOOK_INTERVAL);
        }
        let is_lost = match holder(database, SHARED)? {
            // The lock on the database is the first that is taken, and the last that is given up.
            None => is_index_in_use(&index)?,
            Some(FlockType::ReadLock) => version == [WAL] && !is_in_use(&log, &index)?,
            // A process that has locked all of the file for itself has no index.
            Some(_) => false,
        };
        if !is_lost {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether another process has this index of a log open. This process must not.
pub(super) fn is_index_in_use(index: &Path) -> io::Result<bool> {
    found(File::open(index))?.map_or(Ok(false), |index| Ok(holder(&index, INDEX_OPEN)?.is_some()))
}

/// Whether another process has the write lock, by this index of a log.
pub(super) fn is_write_locked(index: &File) -> io::Result<bool> {
    Ok(holder(index, WRITE)?.is_some())
}

/// Whether another process may be in a checkpoint that wants all of the log.
///
/// Such a checkpoint has both locks from before it looks how far the readers are until its end
/// (`sqlite3WalCheckpoint` in wal.c). A writer has only one of them, and a checkpoint that waits
/// for nobody has only the other.
pub(super) fn may_await_readers(index: &File) -> io::Result<bool> {
    Ok(is_write_locked(index)? && holder(index, CHECKPOINT)?.is_some())
}

/// Whether the files of these names are the ones that the processes with the database open have.
fn is_in_use(log: &Path, index: &Path) -> io::Result<bool> {
    let Some(index) = found(File::open(index))? else { return Ok(false) };
    if holder(&index, INDEX_OPEN)?.is_none() {
        return Ok(false);
    }
    // The log is made before the index is opened, and the index is reset before the log is emptied.
    let Some(log) = found(std::fs::metadata(log))? else { return Ok(false) };
    let index = LogIndex::read(&index)?;
    Ok(index.is_none_or(|index| index.committed_bytes() <= log.len()))
}

/// How another process has locked some of these bytes.
fn holder(file: &File, (start, length): (u64, u64)) -> io::Result<Option<FlockType>> {
    // The lock is only asked about: if we took it, it would be in the way of others.
    let lock = Flock {
        start,
        length,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    Ok(fcntl_getlk(file, &lock)?.map(|lock| lock.typ))
}
