use std::fs::{File, Metadata};
use std::io;
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
pub fn identity(file: &File) -> io::Result<String> {
    let metadata = file.metadata()?;
    let created = metadata.created().ok();
    let since = created.and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{}@{}", metadata.ino(), since.unwrap_or_default().as_nanos()))
}
