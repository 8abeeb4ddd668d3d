use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::sidecar;

/// The bytes of the shared lock, as `os.h` of SQLite has them.
const SHARED: (u64, u64) = (0x4000_0002, 510);

/// The byte of the `-shm` file that each connection which has it open holds a lock on, as
/// `os_unix.c` of SQLite has it: `UNIX_SHM_DMS`.
const INDEX_OPEN: (u64, u64) = (128, 1);

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
    match File::open(database) {
        Ok(file) => is_shared_elsewhere(&file),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether those who have the database open have an index of the log that was removed, or replaced.
///
/// Whoever opens the database then makes another one, and no lock of theirs is seen by the others:
/// a checkpoint of one side would destroy what the other one writes.
///
/// To be asked before this process opens it: it would lose its locks on the index.
pub(super) fn is_index_lost(database: &File, path: &Path) -> io::Result<bool> {
    let mut version = [0];
    database.read_exact_at(&mut version, READ_VERSION_AT)?;
    if version != [WAL] {
        return Ok(false);
    }
    let index = sidecar(&path.canonicalize()?, "-shm");
    for look in 0..LOOKS {
        if look > 0 {
            sleep(LOOK_INTERVAL);
        }
        // Who has locked all of it for itself has no index.
        if holder(database, SHARED)? != Some(FlockType::ReadLock) {
            return Ok(false);
        }
        match File::open(&index) {
            Ok(index) if holder(&index, INDEX_OPEN)?.is_some() => return Ok(false),
            Ok(_) => (),
            Err(error) if error.kind() == ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
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
