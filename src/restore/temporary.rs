use std::fs::{self, DirEntry, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use tempfile::TempDir;
use tracing::{info, warn};

/// A directory for a database that is only examined. It is removed on drop.
///
/// It is where the system keeps temporary files, and no other user can look into it. A directory
/// left by a killed process is removed when the next one is created: it may be as large as a
/// database.
#[derive(Debug)]
pub struct TemporaryDirectory {
    directory: TempDir,
    /// Held while the directory is in use.
    _lock: File,
}

impl TemporaryDirectory {
    /// Creates a directory with `purpose` as part of its name.
    pub fn create(purpose: &str) -> anyhow::Result<Self> {
        let root = std::env::temp_dir();
        Self::create_in(&root, purpose).with_context(|| {
            format!(
                "cannot make a temporary directory in {}: set TMPDIR to a directory with as much \
                 room as the database takes",
                root.display()
            )
        })
    }

    fn create_in(root: &Path, purpose: &str) -> io::Result<Self> {
        let prefix = format!("litestream-{purpose}-");
        for entry in fs::read_dir(root)?.filter_map(Result::ok) {
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
                remove_leftover(&entry);
            }
        }
        let directory = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(root)?;
        let lock = File::create_new(directory.path().join(LOCK))?;
        // Go on without a lock if the file system has none.
        let _ = lock.try_lock();
        Ok(Self { directory, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// The name of the file in the directory that is locked while it is in use.
const LOCK: &str = "lock";

/// Removes a directory that nobody uses any more. One without a lock file may just be being
/// created.
fn remove_leftover(entry: &DirEntry) {
    let path = entry.path();
    let is_ours = entry.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw());
    // Do not follow a symbolic link: its target is not ours.
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let lock = OpenOptions::new().write(true).custom_flags(no_follow).open(path.join(LOCK));
    if !is_ours || !lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
        return;
    }
    match fs::remove_dir_all(&path) {
        Ok(()) => info!(path = %path.display(), "removed what a killed process had left"),
        Err(error) => warn!(path = %path.display(), "cannot remove a left-over: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let create = || TemporaryDirectory::create_in(root.path(), "test").unwrap();
        let [used, left] = [create(), create()];
        fs::write(left.path().join("replica"), "large").unwrap();
        let TemporaryDirectory { directory, _lock: lock } = left;
        let left = directory.keep();
        for name in ["litestream-other-1", "litestream-test-without-lock"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let other = create();
        assert!(left.exists(), "it is still locked");
        drop(lock);
        let another = create();
        assert!(!left.exists());
        assert!(used.path().exists() && other.path().exists() && another.path().exists());
        drop((used, other, another));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}
