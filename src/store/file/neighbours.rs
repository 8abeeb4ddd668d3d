use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::anyhow;

use super::root::Seen;
use crate::store::{Result, StoreError};

/// How many neighbours are looked for. One that is there is enough, and of several, some may have
/// been removed on purpose.
const LOOKS_MAX: usize = 16;

/// The directories of this process's stores that were there, for as long as these stores are used.
///
/// A directory that never was there tells nothing by itself of the disk that it is to be on.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Neighbours(Arc<Mutex<BTreeMap<PathBuf, Weak<Mutex<Seen>>>>>);

impl Neighbours {
    /// Takes note that the directory of a store is there.
    pub(super) fn add(&self, root: &Path, seen: &Arc<Mutex<Seen>>) {
        self.locked().insert(root.to_owned(), Arc::downgrade(seen));
    }

    /// Fails if all those that are nearest to `root` are missing: the file system that it is to be
    /// made in is not mounted.
    pub(super) fn expect_mounted(&self, root: &Path) -> Result<()> {
        // Everything is below the root of all file systems, on whatever disk.
        let above = root.ancestors().skip(1).filter(|above| above.parent().is_some());
        let nearest = above.map(|above| (above, self.below(above)));
        match nearest.into_iter().find(|(_, roots)| !roots.is_empty()) {
            Some((above, roots)) if !roots.iter().any(|root| root.exists()) => {
                Err(StoreError::Unavailable(anyhow!(
                    "there were other replicas in {}, and they are missing: is its disk mounted? \
                     If they were removed on purpose, start litestream again",
                    above.display()
                )))
            }
            _ => Ok(()),
        }
    }

    fn below(&self, above: &Path) -> Vec<PathBuf> {
        self.locked()
            .range::<Path, _>((Bound::Included(above), Bound::Unbounded))
            .take_while(|(root, _)| root.starts_with(above))
            .filter(|(_, seen)| seen.strong_count() > 0)
            .map(|(root, _)| root.clone())
            .take(LOOKS_MAX)
            .collect()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Weak<Mutex<Seen>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::root::Root;
    use super::*;

    #[test]
    fn a_new_directory_is_not_made_where_all_others_are_missing() {
        let disk = tempfile::tempdir().unwrap();
        let mount = disk.path().join("mount");
        let neighbours = Neighbours::default();
        let [first, second] = ["a/b.db", "c.db"].map(|name| {
            let root = Root::new(mount.join(name), neighbours.clone());
            root.expect_mounted().unwrap();
            fs::create_dir_all(root.path()).unwrap();
            root.expect_mounted().unwrap();
            root
        });
        let expect = |name: &str| Root::new(mount.join(name), neighbours.clone()).expect_mounted();
        expect("new.db").unwrap();
        fs::remove_dir(second.path()).unwrap();
        expect("new.db").unwrap();
        fs::remove_dir(first.path()).unwrap();
        for name in ["new.db", "a/new.db", "new/new.db"] {
            let error = expect(name).unwrap_err().to_string();
            assert!(error.contains("is its disk mounted?"), "{error}");
        }
        fs::create_dir(second.path()).unwrap();
        expect("new.db").unwrap();
        // Of those in the directory next to it, none is there.
        expect("a/new.db").unwrap_err();
        // Whatever was there is of no store any more.
        drop((first, second));
        expect("a/new.db").unwrap();
    }
}
