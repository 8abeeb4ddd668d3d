use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;

use super::neighbours::Neighbours;
use crate::store::{Result, StoreError};

/// The directory below which a store keeps its objects, and what was seen of it.
///
/// Clones share what was seen.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
    neighbours: Neighbours,
}

/// The device and the inode of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    pub(super) fn of(found: &Metadata) -> Self {
        Self(found.dev(), found.ino())
    }
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The directory, once it was there.
    directory: Option<Identity>,
    /// The key of the object that was stored or read last.
    object: Option<String>,
}

impl Root {
    pub(super) fn new(path: PathBuf, neighbours: Neighbours) -> Self {
        Self { path, seen: Arc::default(), neighbours }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, once it was there: then it is not to be made anew.
    pub(super) fn to_be_kept(&self) -> Option<&Path> {
        self.locked().directory.map(|_| self.path.as_path())
    }

    /// Fails if the directory was there before, and is missing now, or is another one without what
    /// was stored or read last: its file system is not mounted. What is stored meanwhile would be
    /// hidden as soon as that is mounted again, and leave a hole in the history there. If it never
    /// was there, its neighbours tell whether the file system is mounted.
    pub(super) fn expect_mounted(&self) -> Result<()> {
        let found = match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Some(Identity::of(&found)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // The operation itself meets that, and says what it could not do.
            _ => return Ok(()),
        };
        let mut seen = self.locked();
        // A network file system may be another device each time that it is mounted.
        let is_same = seen.directory.is_none_or(|before| found == Some(before))
            || seen.object.as_ref().is_some_and(|key| self.path.join(key).exists());
        if !is_same {
            return Err(StoreError::Unavailable(anyhow!(
                "the directory {} was there, and is missing or another one: is its disk mounted? \
                 If it was removed or replaced on purpose, start litestream again",
                self.path.display()
            )));
        }
        let before = std::mem::replace(&mut seen.directory, found);
        drop(seen);
        match (before, found) {
            (None, None) => self.neighbours.expect_mounted(&self.path)?,
            (None, Some(_)) => self.neighbours.add(&self.path, &self.seen),
            (Some(_), _) => (),
        }
        Ok(())
    }

    /// Takes note that an object is there.
    pub(super) fn note_object(&self, key: &str) {
        self.locked().object = Some(key.to_owned());
    }

    /// Takes note that objects are deleted.
    pub(super) fn note_deleted(&self, keys: &[String]) {
        self.locked().object.take_if(|object| keys.contains(object));
    }

    fn locked(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_missed_once_it_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replica");
        let root = Root::new(path.clone(), Neighbours::default());
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
            assert!(error.contains("is its disk mounted?"), "{error}");
        }
        fs::rename(&away, &path).unwrap();
        root.expect_mounted().unwrap();
    }

    /// Whatever is in it: an earlier daemon may have stored something there.
    #[test]
    fn another_directory_is_taken_only_with_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replica");
        let root = Root::new(path.clone(), Neighbours::default());
        fs::create_dir(&path).unwrap();
        root.expect_mounted().unwrap();
        fs::write(path.join("object"), "").unwrap();
        root.note_object("object");
        let exchange = |content: &str| {
            let other = directory.path().join("other");
            fs::create_dir(&other).unwrap();
            fs::write(other.join(content), "").unwrap();
            fs::rename(&path, directory.path().join(format!("before {content}"))).unwrap();
            fs::rename(other, &path).unwrap();
        };
        exchange("stray");
        root.expect_mounted().unwrap_err();
        exchange("object");
        root.expect_mounted().unwrap();
        root.note_deleted(&["object".to_owned()]);
        root.expect_mounted().unwrap();
        exchange("another");
        root.expect_mounted().unwrap_err();
    }
}
