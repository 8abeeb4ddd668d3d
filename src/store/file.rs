mod access;
mod failure;
mod neighbours;
mod partial;
mod root;
mod walk;

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use access::Access;

use super::{Object, ObjectStore, Result, StoreError};
use crate::failpoint::Failpoint;
use failure::{failure, lost_task};
pub(super) use neighbours::Neighbours;
use partial::Partial;
use root::Root;

/// How long nothing was written to a file before it is known that nobody will complete it.
const LEFT_OVER: Duration = Duration::from_hours(24);

/// Objects as files below a directory.
///
/// A file that is being written has `.tmp` at the end of its name; listings do not show it.
#[derive(Clone, Debug)]
pub struct FileStore {
    root: Root,
    files: Access,
    directories: Access,
}

impl FileStore {
    /// Keeps objects below `root`, which is created with the first object. No other user can read
    /// what is created.
    pub fn new(root: PathBuf) -> Self {
        Self::beside(Neighbours::default(), root)
    }

    /// As [`FileStore::new`], one of several.
    pub(super) fn beside(neighbours: Neighbours, root: PathBuf) -> Self {
        Self {
            root: Root::new(root, neighbours),
            files: Access::private_file(),
            directories: Access::private_directory(),
        }
    }

    /// Creates files and directories with these modes and owners, as far as the umask and the
    /// rights of this process allow.
    #[must_use]
    pub fn with_access(self, files: Access, directories: Access) -> Self {
        Self { files, directories, ..self }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.path().join(key)
    }

    /// Does what blocks, unless the directory is missing.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = self.root.clone();
        let work = move || root.expect_mounted().and_then(|()| work());
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(lost_task(&error)))
    }

    fn put_blocking(&self, key: &str, source: &mut dyn Read) -> Result<()> {
        let path = self.path(key);
        let partial = Partial::create(&self.root, &path, self.files, self.directories)?;
        partial.fill(source)?.publish(&path)?;
        self.note_stored(key)
    }

    fn create_blocking(&self, key: &str, source: &mut dyn Read) -> Result<()> {
        let path = self.path(key);
        let partial = Partial::create(&self.root, &path, self.files, self.directories)?;
        if partial.fill(source)?.publish_new(&path)? {
            self.note_stored(key)
        } else {
            Err(StoreError::Exists { key: key.to_owned() })
        }
    }

    /// The disk may have gone since we looked: then what was just stored is not where it belongs.
    fn note_stored(&self, key: &str) -> Result<()> {
        self.root.expect_mounted()?;
        self.root.note_object(key);
        Ok(())
    }

    fn get_blocking(&self, key: &str, range: &Range<u64>) -> Result<Vec<u8>> {
        let path = self.path(key);
        let opened = Failpoint::ObjectReading.pass().and_then(|()| File::open(&path));
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { key: key.to_owned() },
            _ => failure("open", &path, &error),
        })?;
        let failed = |error: &io::Error| failure("read", &path, error);
        let size = file.metadata().map_err(|error| failed(&error))?.len();
        if size < range.end {
            return Err(StoreError::Rejected(anyhow::anyhow!(
                "{} has {size} bytes where at least {} were expected; it was cut off or replaced",
                path.display(),
                range.end
            )));
        }
        let length = usize::try_from(range.end - range.start)
            .map_err(|_| failed(&io::ErrorKind::OutOfMemory.into()))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, range.start).map_err(|error| failed(&error))?;
        self.root.note_object(key);
        Ok(bytes)
    }

    fn delete_blocking(&self, keys: &[String]) -> Result<()> {
        self.root.note_deleted(keys);
        for key in keys {
            let path = self.path(key);
            match Failpoint::ObjectDeleting.pass().and_then(|()| fs::remove_file(&path)) {
                Ok(()) => self.remove_empty_parents(&path),
                Err(error) if walk::is_absent(&error) => (),
                Err(error) => return Err(failure("delete", &path, &error)),
            }
        }
        Ok(())
    }

    /// Removes what was left below `prefix`, which ends in a slash, by processes that died while
    /// they stored an object, if `is_ours` is true of its key. Whoever still stores it has written
    /// to it within a day.
    pub async fn remove_left_overs(
        &self,
        prefix: String,
        is_ours: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<()> {
        let store = self.clone();
        self.blocking(move || {
            let time = SystemTime::now() - LEFT_OVER;
            let keys = walk::left_overs(store.root.path(), &prefix, time)?;
            let left = keys.iter().filter(|key| is_ours(key));
            store.delete_blocking(
                &left.map(|key| format!("{key}{}", partial::SUFFIX)).collect::<Vec<_>>(),
            )
        })
        .await
    }

    /// Removes directories that a deletion has emptied. One that is in use again is not empty, or
    /// is created again by [`Partial::create`].
    fn remove_empty_parents(&self, path: &Path) {
        for directory in
            path.ancestors().skip(1).take_while(|directory| *directory != self.root.path())
        {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }
}

impl ObjectStore for FileStore {
    async fn put(&self, key: &str, mut source: Box<dyn Read + Send>, _size_max: u64) -> Result<()> {
        let (store, key) = (self.clone(), key.to_owned());
        self.blocking(move || store.put_blocking(&key, &mut source)).await
    }

    async fn create(&self, key: &str, mut source: Box<dyn Read + Send>, _: u64) -> Result<()> {
        let (store, key) = (self.clone(), key.to_owned());
        self.blocking(move || store.create_blocking(&key, &mut source)).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (store, key) = (self.clone(), key.to_owned());
        self.blocking(move || store.get_blocking(&key, &range)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let (root, prefix) = (self.root.clone(), prefix.to_owned());
        self.blocking(move || walk::objects(root.path(), &prefix)).await
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>> {
        let directory = self.path(prefix);
        self.blocking(move || walk::directories(&directory)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let (store, keys) = (self.clone(), keys.to_owned());
        self.blocking(move || store.delete_blocking(&keys)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its disk went after we had looked, and before anything was written.
    #[test]
    fn what_was_stored_in_another_directory_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let [path, away] = ["replica", "away"].map(|name| directory.path().join(name));
        let store = FileStore::new(path.clone());
        store.put_blocking("first", &mut &b"data"[..]).unwrap();
        fs::rename(&path, &away).unwrap();
        fs::create_dir(&path).unwrap();
        for stored in [
            store.put_blocking("second", &mut &b"data"[..]),
            store.create_blocking("third", &mut &b"data"[..]),
        ] {
            assert!(matches!(stored, Err(StoreError::Unavailable(_))), "{stored:?}");
        }
        fs::remove_dir_all(&path).unwrap();
        fs::rename(&away, &path).unwrap();
        store.create_blocking("third", &mut &b"data"[..]).unwrap();
    }

    #[tokio::test]
    async fn only_what_nobody_completes_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path().to_owned());
        let names = [
            "p/a/old.tmp",
            "p/b/old.tmp",
            "p/b/new.tmp",
            "p/b/old",
            "p/c/foreign.tmp",
            "q/old.tmp",
        ];
        for name in names {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(path).unwrap();
            if !name.contains("new") {
                file.set_modified(SystemTime::now() - 2 * LEFT_OVER).unwrap();
            }
        }
        let is_ours = |key: &str| !key.contains("foreign");
        store.remove_left_overs("p/".to_owned(), is_ours).await.unwrap();
        let left = names.map(|name| directory.path().join(name).exists());
        assert_eq!(left, [false, false, true, true, true, true]);
        assert!(!directory.path().join("p/a").exists());
    }
}
