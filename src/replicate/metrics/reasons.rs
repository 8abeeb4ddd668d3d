use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why replicas are not good, by their databases and names. What is good is not in it.
///
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons(Arc<Mutex<HashMap<[String; 2], &'static str>>>);

impl Reasons {
    /// Takes note of a reason. An empty one is none.
    pub(super) fn set(&self, replica: &[String; 2], reason: &'static str) {
        if reason.is_empty() {
            self.locked().remove(replica);
        } else {
            self.locked().insert(replica.clone(), reason);
        }
    }

    pub(super) fn of(&self, replica: &[String; 2]) -> Option<&'static str> {
        self.locked().get(replica).copied()
    }

    pub(super) fn forget(&self, database: &str) {
        self.locked().retain(|[of, _], _| of != database);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<[String; 2], &'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
