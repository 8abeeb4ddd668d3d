use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which databases have no store that takes them, of all that are followed.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<PathBuf, bool>>);

impl Refusals {
    /// A database is followed from now on.
    pub(super) fn add(&self, database: &Path) {
        self.locked().insert(database.to_owned(), false);
    }

    pub(super) fn remove(&self, database: &Path) {
        self.locked().remove(database);
    }

    /// Takes note that every store refuses a database, or that it is not so. Says whether all
    /// databases are refused by now.
    pub(super) fn note(&self, database: &Path, refused: bool) -> bool {
        let mut databases = self.locked();
        databases.insert(database.to_owned(), refused);
        databases.values().all(|&refused| refused)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<PathBuf, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_complete_when_no_database_is_taken() {
        let [one, other] = ["one", "other"].map(Path::new);
        let refusals = Refusals::default();
        refusals.add(one);
        refusals.add(other);
        assert!(!refusals.note(one, true), "nothing is known of the other one");
        assert!(refusals.note(other, true));
        assert!(!refusals.note(other, false));
        refusals.remove(other);
        assert!(refusals.note(one, true), "there is no other one");
    }
}
