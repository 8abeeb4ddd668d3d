use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::anyhow;
use tokio::task::JoinError;

use crate::store::StoreError;

/// The error that `action` failed on `path`, with advice.
pub(super) fn failure(action: &str, path: &Path, error: &io::Error) -> StoreError {
    let (permanent, remedy) = judge(error.kind());
    let message = anyhow!("cannot {action} {}: {error}{remedy}", path.display());
    if permanent { StoreError::Rejected(message) } else { StoreError::Unavailable(message) }
}

/// Whether trying again is pointless, and what to advise.
fn judge(kind: ErrorKind) -> (bool, &'static str) {
    match kind {
        ErrorKind::PermissionDenied => (true, "; give this user the right to do it"),
        ErrorKind::ReadOnlyFilesystem => (true, "; mount it writable, or choose another path"),
        ErrorKind::NotADirectory => (true, "; a part of this path is a file: choose another path"),
        ErrorKind::IsADirectory => (true, "; a directory is in the way: choose another path"),
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => (true, "; choose another path"),
        ErrorKind::StorageFull => (false, "; make room on this file system"),
        ErrorKind::QuotaExceeded => (false, "; raise the quota, or make room"),
        _ => (false, ""),
    }
}

/// The blocking part of an operation has panicked, or the runtime is shutting down.
pub(super) fn lost_task(error: &JoinError) -> StoreError {
    StoreError::Unavailable(anyhow!("file access ended early: {error}"))
}
