//! Forks whose database took the place of the rest: they expire as what else is history.

use std::io;
use std::time::SystemTime;

use tracing::info;

use super::Connected;
use crate::format::{Generation, Key};
use crate::replicate::retention::has_fork_expired;
use crate::store::{ObjectStore, StoreError};

impl Connected {
    /// Whether there are forks that the database has left. From within a fork they are not seen.
    pub(super) fn has_left_forks(&self) -> Result<bool, StoreError> {
        let staging = &self.replica.staging;
        let is_here = staging.fork().map_err(local)?.is_none();
        Ok(is_here && !staging.decided_forks().map_err(local)?.is_empty())
    }

    /// Deletes the forks that the database has left, once the retention does not ask for them any
    /// more. Whatever dies in the middle of that, it is gone on with at the next look.
    pub(super) async fn expire_forks(&self, now: SystemTime) -> Result<(), StoreError> {
        let staging = &self.replica.staging;
        for (fork, since) in staging.decided_forks().map_err(local)? {
            let objects = self.store.list(&Key::fork_root(fork)).await?;
            let newest = objects.iter().map(|object| object.created).max();
            if !has_fork_expired(since, newest, now, self.maintenance.retention()) {
                continue;
            }
            let (db, name) = (self.replica.database.display(), &self.replica.options.name);
            info!(%db, name, %fork, objects = objects.len(), "delete a fork that has expired");
            // Without its snapshots nothing of it is restored by mistake.
            let keys = objects.into_iter().map(|object| object.key);
            let (first, rest): (Vec<_>, Vec<_>) = keys.partition(|key| is_snapshot(fork, key));
            for keys in [first, rest].into_iter().filter(|keys| !keys.is_empty()) {
                self.store.delete(&keys).await?;
            }
            staging.forget_decided_fork(fork).map_err(local)?;
        }
        Ok(())
    }
}

fn local(error: io::Error) -> StoreError {
    StoreError::Unavailable(error.into())
}

fn is_snapshot(fork: Generation, key: &str) -> bool {
    let key = key.strip_prefix(&Key::fork_root(fork)).and_then(|key| key.parse().ok());
    matches!(key, Some(Key::Snapshot { .. }))
}
