use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::sqlite::FileId;

/// The files that the tails have open, whatever their names are now.
///
/// A search for databases must not open one of them under another name: when either descriptor is
/// closed, all locks that this process has on the file are gone, see [`crate::sqlite`].
///
/// A file also stays open while a snapshot is made of it, even if the database has long been closed
/// and its tail has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenFiles(Arc<Mutex<Vec<Opened>>>);

type Opened = (FileId, Weak<File>);

impl OpenFiles {
    pub(super) fn add(&self, file: &Arc<File>) -> io::Result<()> {
        let id = FileId::of(&file.metadata()?);
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(_, file)| file.strong_count() > 0);
        files.push((id, Arc::downgrade(file)));
        Ok(())
    }

    /// The file, if one of the tails has it open.
    pub(super) fn get(&self, id: FileId) -> Option<Arc<File>> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().filter(|(of, _)| *of == id).find_map(|(_, file)| file.upgrade())
    }

    pub(super) fn ids(&self) -> Vec<FileId> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().filter(|(_, file)| file.strong_count() > 0).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_until_the_last_one_who_has_it_lets_go() {
        let files = OpenFiles::default();
        let database = Arc::new(tempfile::tempfile().unwrap());
        files.add(&database).unwrap();
        let other = Arc::new(tempfile::tempfile().unwrap());
        files.add(&other).unwrap();
        assert_eq!(files.ids().len(), 2);
        let id = FileId::of(&database.metadata().unwrap());
        assert!(Arc::ptr_eq(&files.get(id).unwrap(), &database));
        let snapshot = Arc::clone(&database);
        drop((database, other));
        assert_eq!(files.ids(), [FileId::of(&snapshot.metadata().unwrap())]);
        drop(snapshot);
        assert_eq!(files.ids(), []);
        assert!(files.get(id).is_none());
    }
}
