use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A database, and a replica of it. An empty name stands for the database itself.
type Labels = [String; 2];

/// Why replicas are not good, and what went wrong last. What is good is not in it.
///
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    reasons: HashMap<Labels, &'static str>,
    errors: HashMap<Labels, String>,
}

impl Reasons {
    /// Takes note of a reason. An empty one is none.
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

    /// What went wrong last with a replica.
    pub(super) fn error_of(&self, replica: &Labels) -> Option<String> {
        self.locked().errors.get(replica).cloned()
    }

    /// Why a replica is not good, and if so, what went wrong last with it or with its database.
    pub(super) fn of(&self, replica: &Labels) -> (Option<&'static str>, Option<String>) {
        let found = self.locked();
        let Some(&reason) = found.reasons.get(replica) else { return (None, None) };
        let database = [replica[0].clone(), String::new()];
        let error = found.errors.get(replica).or_else(|| found.errors.get(&database));
        (Some(reason), error.cloned())
    }

    pub(super) fn forget(&self, database: &str) {
        let mut found = self.locked();
        found.reasons.retain(|[of, _], _| of != database);
        found.errors.retain(|[of, _], _| of != database);
    }

    fn locked(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
