use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::replica::Validity;

/// A database, and a replica of it. An empty name stands for the database itself.
type Labels = [String; 2];

/// Why replicas are not good, and what went wrong last. Replicas that are good are not in it.
///
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    reasons: HashMap<Labels, &'static str>,
    /// What each operation that fails came to, the newest last.
    errors: HashMap<Labels, Vec<(&'static str, String)>>,
    /// Of those of which validation found something wrong.
    validities: HashMap<Labels, Validity>,
}

impl Found {
    fn error(&self, of: &Labels) -> Option<&String> {
        self.errors.get(of)?.last().map(|(_, error)| error)
    }
}

impl Reasons {
    /// Takes note of why a replica is not good. An empty reason stands for none.
    pub(super) fn set(&self, replica: &Labels, reason: &'static str) {
        let reasons = &mut self.locked().reasons;
        if reason.is_empty() {
            reasons.remove(replica);
        } else {
            reasons.insert(replica.clone(), reason);
        }
    }

    /// Takes note of the last error of an operation, or that it does not fail any more.
    pub(super) fn set_error(&self, of: [&str; 2], operation: &'static str, error: Option<String>) {
        let mut found = self.locked();
        let errors = found.errors.entry(of.map(str::to_owned)).or_default();
        errors.retain(|(other, _)| *other != operation);
        errors.extend(error.map(|error| (operation, error)));
    }

    /// Takes note of what the last validation of a replica found.
    pub(super) fn set_validity(&self, replica: &Labels, validity: Validity) {
        let validities = &mut self.locked().validities;
        match validity {
            Validity::Restorable => drop(validities.remove(replica)),
            wrong => drop(validities.insert(replica.clone(), wrong)),
        }
    }

    /// What went wrong last with a replica.
    pub(super) fn error_of(&self, replica: &Labels) -> Option<String> {
        self.locked().error(replica).cloned()
    }

    /// Why a replica is not good and, if it is not, what went wrong last with it or with its
    /// database.
    pub(super) fn of(&self, replica: &Labels) -> (Option<&'static str>, Option<String>) {
        let found = self.locked();
        let Some(&reason) = found.reasons.get(replica) else { return (None, None) };
        let database = [replica[0].clone(), String::new()];
        let defect = match found.validities.get(replica) {
            Some(
                Validity::DamagedDatabase(defect)
                | Validity::Unrestorable(defect)
                | Validity::Unknown(defect),
            ) => Some(defect),
            Some(Validity::Restorable) | None => None,
        };
        let error = found.error(replica).or(defect);
        (Some(reason), error.or_else(|| found.error(&database)).cloned())
    }

    pub(super) fn forget(&self, database: &str) {
        let mut found = self.locked();
        found.reasons.retain(|[of, _], _| of != database);
        found.errors.retain(|[of, _], _| of != database);
        found.validities.retain(|[of, _], _| of != database);
    }

    fn locked(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
