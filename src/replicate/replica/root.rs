//! Where the objects of a replica are: in which store, and below which fork.

use tracing::error;

use super::{Failures, PAUSE_MAX, Replica};
use crate::format::{Generation, Key};
use crate::store::{Access, FileStore, Store};

impl Replica {
    pub(super) async fn connect(&self) -> Store {
        let mut failures = Failures::new("connecting");
        loop {
            match self.connections.open(&self.options.location).await {
                Ok(Store::File(store)) => return Store::File(self.like_database(store)),
                Ok(store) => return store,
                Err(error) => failures.wait(self, &error).await,
            }
        }
    }

    /// Lets those read the replica who can read the database, as Litestream does.
    fn like_database(&self, store: FileStore) -> FileStore {
        let parent = self.database.parent().and_then(|parent| std::fs::metadata(parent).ok());
        match (std::fs::metadata(&self.database), parent) {
            (Ok(file), Some(directory)) => {
                store.with_access(Access::like(&file), Access::like(&directory))
            }
            _ => store,
        }
    }

    /// What every key begins with: nothing, unless the database is replicated to a fork. As long as
    /// that cannot be told, nothing is sent anywhere.
    pub(super) async fn root(&self) -> String {
        loop {
            match self.staging.fork() {
                Ok(None) => return String::new(),
                Ok(Some(generation)) => return self.root_of_fork(generation),
                Err(error) => {
                    error!(
                        db = %self.database.display(), name = self.options.name,
                        "cannot read whether the database is replicated to a fork, will retry: {error}"
                    );
                    tokio::time::sleep(PAUSE_MAX).await;
                }
            }
        }
    }

    pub(super) fn root_of_fork(&self, generation: Generation) -> String {
        self.metrics.set_diverged(true);
        error!(
            db = %self.database.display(), name = self.options.name, fork = %generation,
            "DIVERGED: replicating to a fork, because the replica holds another history, which is \
             left as it is. `restore` gives that one, `restore -fork {generation}` this database. \
             If that one is right, stop and run `restore -force`; if this one is, start once with \
             `replicate -on-divergence continue`"
        );
        Key::fork_root(generation)
    }
}
