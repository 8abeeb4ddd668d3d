use std::fs::File;
use std::io;
use std::path::Path;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

/// The bytes of the shared lock, as `os.h` of SQLite has them.
const SHARED_FIRST: u64 = 0x4000_0002;
const SHARED_SIZE: u64 = 510;

/// Whether another process has the database open: each connection in WAL mode has a shared lock
/// on the file for as long as it lives (`pager_unlock` in pager.c). In other modes it has one only
/// while it reads or writes.
pub(super) fn is_shared_elsewhere(database: &File) -> io::Result<bool> {
    // Only asked for: a lock of ours would be in the way of others.
    let lock = Flock {
        start: SHARED_FIRST,
        length: SHARED_SIZE,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    Ok(fcntl_getlk(database, &lock)?.is_some())
}

/// The same of a database that this process has not open: it would lose its locks.
pub fn is_open(database: &Path) -> io::Result<bool> {
    is_shared_elsewhere(&File::open(database)?)
}
