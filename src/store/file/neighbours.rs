use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::anyhow;

use super::root::{Identity, Seen};
use crate::store::{Result, StoreError};

/// How many neighbours are looked for. One that is there is enough, and of several, some may have
/// been removed on purpose.
const LOOKS_MAX: usize = 16;

/// The directories of this process's stores that were there, for as long as these stores are used.
///
/// A directory that never was there tells nothing by itself of the disk that it is to be on.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Neighbours(Arc<Mutex<BTreeMap<PathBuf, Neighbour>>>);

#[derive(Debug)]
struct Neighbour {
    store: Weak<Mutex<Seen>>,
    /// The directories above it, the nearest first.
    above: Vec<Option<Identity>>,
}

impl Neighbours {
    /// Takes note that the directory of a store is there.
    pub(super) fn add(&self, root: &Path, seen: &Arc<Mutex<Seen>>) {
        let above = root.ancestors().skip(1).map(identity).collect();
        let neighbour = Neighbour { store: Arc::downgrade(seen), above };
        self.locked().insert(root.to_owned(), neighbour);
    }

    /// Fails if all those that are nearest to `root` are missing, and so is the directory that has
    /// them in common, or it is another one: the file system that `root` is to be made in is not
    /// mounted.
    pub(super) fn expect_mounted(&self, root: &Path) -> Result<()> {
        // Everything is below the root of all file systems, on whatever disk.
        let above = root.ancestors().skip(1).filter(|above| above.parent().is_some());
        let nearest = above.map(|above| (above, self.below(above)));
        match nearest.into_iter().find(|(_, roots)| !roots.is_empty()) {
            Some((above, roots))
                if !roots.iter().any(|(root, was)| root.exists() || *was == identity(above)) =>
            {
                Err(StoreError::Unavailable(anyhow!(
                    "there were other replicas in {}, and they are missing: is its disk mounted? \
                     If they were removed on purpose, start litestream again",
                    above.display()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Some of those below a directory, and what that was when they were there.
    fn below(&self, above: &Path) -> Vec<(PathBuf, Option<Identity>)> {
        let depth = |path: &Path| path.components().count();
        self.locked()
            .range::<Path, _>((Bound::Included(above), Bound::Unbounded))
            .take_while(|(root, _)| root.starts_with(above))
            .filter(|(_, neighbour)| neighbour.store.strong_count() > 0)
            .map(|(root, neighbour)| {
                let was = neighbour.above.get(depth(root) - depth(above) - 1).copied().flatten();
                (root.clone(), was)
            })
            .take(LOOKS_MAX)
            .collect()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Neighbour>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    fs::metadata(directory).ok().as_ref().map(Identity::of)
}

#[cfg(test)]
mod tests {
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
        // Somebody has removed both.
        expect("new.db").unwrap();
        let away = disk.path().join("away");
        fs::rename(&mount, &away).unwrap();
        expect("new.db").unwrap_err();
        fs::create_dir_all(mount.join("a")).unwrap();
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
