use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;

use crate::store::{Result, StoreError};

/// The directory below which a store keeps its objects, and the file system that it was on.
///
/// Clones share what was seen.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: PathBuf,
    /// The device of the directory, once it was there.
    device: Arc<Mutex<Option<u64>>>,
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, device: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, once it was there: then it is not to be made anew.
    pub(super) fn to_be_kept(&self) -> Option<&Path> {
        self.locked().map(|_| self.path.as_path())
    }

    /// Fails if the directory was there before and is missing now, or is an empty one on another
    /// file system: its own is not mounted. What is stored meanwhile would be hidden as soon as
    /// that is mounted again, and leave a hole in the history there.
    pub(super) fn expect_mounted(&self) -> Result<()> {
        let found = match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Some(found.dev()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // The operation itself meets that, and says what it could not do.
            _ => return Ok(()),
        };
        let mut seen = self.locked();
        let is_lost = match (*seen, found) {
            (Some(_), None) => true,
            // A network file system may be another device each time that it is mounted.
            (Some(before), Some(now)) => before != now && is_empty(&self.path),
            (None, _) => false,
        };
        if is_lost {
            return Err(StoreError::Unavailable(anyhow!(
                "the directory {} was there, and is not any more: is its disk mounted? If it was \
                 removed on purpose, make it again",
                self.path.display()
            )));
        }
        *seen = found;
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Option<u64>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_missed_once_it_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replica");
        let root = Root::new(path.clone());
        root.expect_mounted().unwrap();
        fs::write(&path, "a file in the way").unwrap();
        root.expect_mounted().unwrap();
        fs::remove_file(&path).unwrap();
        root.expect_mounted().unwrap();
        fs::create_dir(&path).unwrap();
        root.expect_mounted().unwrap();
        let away = directory.path().join("away");
        fs::rename(&path, &away).unwrap();
        for _ in 0..2 {
            let error = root.clone().expect_mounted().unwrap_err().to_string();
            assert!(error.contains("replica was there, and is not any more"), "{error}");
        }
        fs::rename(&away, &path).unwrap();
        root.expect_mounted().unwrap();
    }

    #[test]
    fn is_missed_if_it_is_empty_and_on_another_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let root = Root { path: path.clone(), device: Arc::new(Mutex::new(Some(u64::MAX))) };
        root.expect_mounted().unwrap_err();
        fs::write(path.join("object"), "").unwrap();
        root.expect_mounted().unwrap();
        fs::remove_file(path.join("object")).unwrap();
        root.expect_mounted().unwrap();
    }
}
