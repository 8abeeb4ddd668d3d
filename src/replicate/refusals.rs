use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which databases have no store that takes them, of all that are begun with at the start.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    refused: HashMap<PathBuf, bool>,
    /// Some database was taken, or is gone: what is refused from then on is an outage.
    begun: bool,
}

impl Refusals {
    /// A database is followed from now on.
    pub(super) fn add(&self, database: &Path) {
        self.locked().refused.insert(database.to_owned(), false);
    }

    pub(super) fn remove(&self, database: &Path) {
        let mut found = self.locked();
        found.begun |= found.refused.remove(database) == Some(false);
    }

    /// Takes note that every store refuses a database, or that it is not so. Says whether all
    /// databases are refused by now, and none ever was taken.
    pub(super) fn note(&self, database: &Path, refused: bool) -> bool {
        let mut found = self.locked();
        found.refused.insert(database.to_owned(), refused);
        found.begun |= !refused;
        !found.begun && found.refused.values().all(|&refused| refused)
    }

    fn locked(&self) -> MutexGuard<'_, Found> {
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
        refusals.remove(other);
        assert!(refusals.note(one, true), "there is no other one");
    }

    #[test]
    fn are_an_outage_once_a_database_was_taken() {
        let [one, other] = ["one", "other"].map(Path::new);
        for take in [
            |refusals: &Refusals, database: &Path| assert!(!refusals.note(database, false)),
            |_: &Refusals, _: &Path| (),
        ] {
            let refusals = Refusals::default();
            refusals.add(one);
            refusals.add(other);
            take(&refusals, other);
            refusals.remove(other);
            assert!(!refusals.note(one, true));
        }
    }
}
