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
    errors: HashMap<Labels, String>,
    /// Of those of which validation found something wrong.
    validities: HashMap<Labels, Validity>,
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

    /// Takes note of the last error, or that there is none any more.
    pub(super) fn set_error(&self, of: [&str; 2], error: Option<String>) {
        let (of, errors) = (of.map(str::to_owned), &mut self.locked().errors);
        match error {
            Some(error) => drop(errors.insert(of, error)),
            None => drop(errors.remove(&of)),
        }
    }

    /// Takes note of what the last validation of a replica found.
    pub(super) fn set_validity(&self, replica: &Labels, validity: Validity) {
        let validities = &mut self.locked().validities;
        match validity {
            Validity::Restorable => drop(validities.remove(replica)),
            wrong => drop(validities.insert(replica.clone(), wrong)),
        }
    }

    /// What the last validation of a replica found.
    pub(super) fn validity_of(&self, replica: &Labels) -> Validity {
        self.locked().validities.get(replica).cloned().unwrap_or_default()
    }

    /// What went wrong last with a replica.
    pub(super) fn error_of(&self, replica: &Labels) -> Option<String> {
        self.locked().errors.get(replica).cloned()
    }

    /// Why a replica is not good and, if it is not, what went wrong last with it or with its
    /// database.
    pub(super) fn of(&self, replica: &Labels) -> (Option<&'static str>, Option<String>) {
        let found = self.locked();
        let Some(&reason) = found.reasons.get(replica) else { return (None, None) };
        let database = [replica[0].clone(), String::new()];
        let defect = match found.validities.get(replica) {
            Some(Validity::DamagedDatabase(defect) | Validity::Unrestorable(defect)) => {
                Some(defect)
            }
            Some(Validity::Restorable) | None => None,
        };
        let error = found.errors.get(replica).or(defect);
        (Some(reason), error.or_else(|| found.errors.get(&database)).cloned())
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
