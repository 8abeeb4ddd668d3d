use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Which file it is among those of its file system, over restarts too: its number, which is soon
/// given to another file when it is removed, and when it was made, where that is known. The number
/// of the file system itself may be another one after each boot.
///
/// From what is known without opening it: to close it again would end all locks that this process
/// has on it, see [`crate::sqlite`].
pub fn identity(metadata: &Metadata) -> String {
    let created = metadata.created().ok();
    let since = created.and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    format!("{}@{}", metadata.ino(), since.unwrap_or_default().as_nanos())
}
