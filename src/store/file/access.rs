use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown, fchown};
use std::path::Path;

use crate::exclusive::create_locked;

/// Who may do what with a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Permission bits, before the umask.
    pub mode: u32,
    /// User and group, or `None` for those of this process.
    pub owner: Option<(u32, u32)>,
}

impl Access {
    /// The access of the file or directory that `metadata` describes.
    pub fn like(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode() & 0o777, owner: Some((metadata.uid(), metadata.gid())) }
    }

    pub(super) fn private_file() -> Self {
        Self { mode: 0o600, owner: None }
    }

    pub(super) fn private_directory() -> Self {
        Self { mode: 0o700, owner: None }
    }

    /// Creates an empty file, replacing one that an earlier process may have left. Fails while
    /// another process writes to it.
    pub(super) fn create_file(self, path: &Path) -> io::Result<File> {
        let file = create_locked(path, self.mode)?;
        self.give_away(|user, group| fchown(&file, user, group));
        Ok(file)
    }

    pub(super) fn create_directory(self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(self.mode).create(path)?;
        self.give_away(|user, group| chown(path, user, group));
        Ok(())
    }

    /// Sets the owner, if this process may: only root may give files away. Failure is ignored,
    /// since a replica with another owner is better than none.
    fn give_away(self, chown: impl FnOnce(Option<u32>, Option<u32>) -> io::Result<()>) {
        if let Some((user, group)) = self.owner {
            chown(Some(user), Some(group)).ok();
        }
    }
}
