use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which of the databases that are followed have no store that accepts them.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Found>);

/// How the stores of a database receive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    /// Some of them have not answered yet.
    Unknown,
    /// None of them accepts anything.
    Refused,
    /// One has accepted something.
    Taken,
}

#[derive(Debug, Default)]
struct Found {
    receptions: HashMap<PathBuf, Reception>,
    /// Some database was accepted, or is gone: a refusal from then on is an outage.
    begun: bool,
}

impl Refusals {
    /// Takes note that a database is followed from now on.
    pub(super) fn add(&self, database: &Path) {
        self.locked().receptions.insert(database.to_owned(), Reception::Unknown);
    }

    pub(super) fn remove(&self, database: &Path) {
        let mut found = self.locked();
        let reception = found.receptions.remove(database);
        found.begun |= reception.is_some_and(|reception| reception != Reception::Refused);
    }

    /// Takes note of how a database is received. Returns whether all databases are now refused, and
    /// none was ever accepted.
    pub(super) fn note(&self, database: &Path, reception: Reception) -> bool {
        let mut found = self.locked();
        found.receptions.insert(database.to_owned(), reception);
        found.begun |= reception == Reception::Taken;
        !found.begun && found.receptions.values().all(|&it| it == Reception::Refused)
    }

    fn locked(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Reception::{Refused, Taken, Unknown};
    use super::*;

    #[test]
    fn are_complete_when_no_database_is_taken() {
        let [one, other] = ["one", "other"].map(Path::new);
        let refusals = Refusals::default();
        refusals.add(one);
        refusals.add(other);
        assert!(!refusals.note(one, Refused), "nothing is known of the other one");
        // The store can be listed, and whether something can be stored is yet to be seen.
        assert!(!refusals.note(other, Unknown));
        assert!(refusals.note(other, Refused));
        refusals.remove(other);
        assert!(refusals.note(one, Refused), "there is no other one");
    }

    #[test]
    fn are_an_outage_once_a_database_was_taken() {
        let [one, other] = ["one", "other"].map(Path::new);
        for take in [
            |refusals: &Refusals, database: &Path| assert!(!refusals.note(database, Taken)),
            |_: &Refusals, _: &Path| (),
        ] {
            let refusals = Refusals::default();
            refusals.add(one);
            refusals.add(other);
            take(&refusals, other);
            refusals.remove(other);
            assert!(!refusals.note(one, Refused));
        }
    }
}
