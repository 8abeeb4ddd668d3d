use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::files::found;
use super::log_index::committed_bytes;
use super::sidecar;

/// The bytes of the shared lock, as `os.h` of SQLite has them.
const SHARED: (u64, u64) = (0x4000_0002, 510);

/// The byte of the `-shm` file that each connection which has it open holds a lock on, as
/// `os_unix.c` of SQLite has it: `UNIX_SHM_DMS`.
const INDEX_OPEN: (u64, u64) = (128, 1);

/// The bytes of the `-shm` file that who writes holds a lock on, and who checkpoints:
/// `WAL_WRITE_LOCK` and `WAL_CKPT_LOCK` in wal.c.
const WRITE: (u64, u64) = (120, 1);
const CHECKPOINT: (u64, u64) = (121, 1);

/// Where the header of a database says how it is read, and what stands for WAL mode.
const READ_VERSION_AT: u64 = 19;
const WAL: u8 = 2;

/// A connection takes the lock on the index a little later than that on the database, and gives it
/// up a little earlier.
const LOOKS: u32 = 10;
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Whether another process has the database open: each connection in WAL mode has a shared lock
/// on the file for as long as it lives (`pager_unlock` in pager.c). In other modes it has one only
/// while it reads or writes.
pub(super) fn is_shared_elsewhere(database: &File) -> io::Result<bool> {
    Ok(holder(database, SHARED)?.is_some())
}

/// The same of a database that this process has not open: it would lose its locks. `false` if there
/// is none.
pub fn is_open(database: &Path) -> io::Result<bool> {
    found(File::open(database))?.map_or(Ok(false), |file| is_shared_elsewhere(&file))
}

/// Whether those who have the database open have a log, or an index of it, that was removed,
/// replaced or cut off.
///
/// Without a common index no lock of one side is seen by the other: a checkpoint of one would
/// destroy what the other one writes. Without a common log nobody sees what the other one commits.
///
/// To be asked before this process opens it: it would lose its locks on the index.
pub(super) fn is_log_lost(database: &File, path: &Path) -> io::Result<bool> {
    let mut version = [0];
    database.read_exact_at(&mut version, READ_VERSION_AT)?;
    if version != [WAL] {
        return Ok(false);
    }
    let target = path.canonicalize()?;
    let (log, index) = (sidecar(&target, "-wal"), sidecar(&target, "-shm"));
    for look in 0..LOOKS {
        if look > 0 {
            sleep(LOOK_INTERVAL);
        }
        // Who has locked all of it for itself has no index.
        if holder(database, SHARED)? != Some(FlockType::ReadLock) || is_in_use(&log, &index)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether another process has this index of a log open. This one must not.
pub(super) fn is_index_in_use(index: &Path) -> io::Result<bool> {
    found(File::open(index))?.map_or(Ok(false), |index| Ok(holder(&index, INDEX_OPEN)?.is_some()))
}

/// Whether another process has the write lock, by this index of a log.
pub(super) fn is_write_locked(index: &File) -> io::Result<bool> {
    Ok(holder(index, WRITE)?.is_some())
}

/// Whether another process may be in a checkpoint that wants all of the log. It has both locks from
/// before it looks how far the readers are until its end (`sqlite3WalCheckpoint` in wal.c). Who
/// writes has one of them, and a checkpoint that waits for nobody has the other.
pub(super) fn may_await_readers(index: &File) -> io::Result<bool> {
    Ok(is_write_locked(index)? && holder(index, CHECKPOINT)?.is_some())
}

/// Whether the files of these names are what those have who have the database open.
fn is_in_use(log: &Path, index: &Path) -> io::Result<bool> {
    let Some(index) = found(File::open(index))? else { return Ok(false) };
    if holder(&index, INDEX_OPEN)?.is_none() {
        return Ok(false);
    }
    // It is made before the index is opened, and the index is reset before it is emptied.
    let Some(log) = found(std::fs::metadata(log))? else { return Ok(false) };
    Ok(committed_bytes(&index)?.is_none_or(|committed| committed <= log.len()))
}

/// How another process has locked some of these bytes.
fn holder(file: &File, (start, length): (u64, u64)) -> io::Result<Option<FlockType>> {
    // Only asked for: a lock of ours would be in the way of others.
    let lock = Flock {
        start,
        length,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    Ok(fcntl_getlk(file, &lock)?.map(|lock| lock.typ))
}
