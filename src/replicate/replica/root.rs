//! Where the objects of a replica are: in which store, and below which fork.

use std::io;

use futures_util::FutureExt;
use tracing::{error, info};

use super::{PAUSE_MAX, Replica};
use crate::catalog;
use crate::format::{Generation, Key};
use crate::store::{Access, FileStore, Store};

impl Replica {
    pub(super) async fn connect(&self) -> Store {
        let connect = || self.connections.open(&self.options.location).boxed();
        match self.insist("connecting", connect).await {
            Store::File(store) => Store::File(self.like_database(store)),
            store @ Store::S3(_) => store,
        }
    }

    /// Makes the replica readable for whoever can read the database, as Litestream does.
    fn like_database(&self, store: FileStore) -> FileStore {
        let parent = self.database.parent().and_then(|parent| std::fs::metadata(parent).ok());
        match (std::fs::metadata(&self.database), parent) {
            (Ok(file), Some(directory)) => {
                store.with_access(Access::like(&file), Access::like(&directory))
            }
            _ => store,
        }
    }

    /// What every key begins with: nothing, unless the database is replicated to a fork.
    ///
    /// Waits until that is known: until then nothing is sent anywhere.
    pub(super) async fn root(&self, store: &Store) -> String {
        loop {
            match self.fork_in(store).await {
                Ok(None) => return String::new(),
                Ok(Some(generation)) => {
                    self.announce_fork(generation);
                    return Key::fork_root(generation);
                }
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

    /// The fork that the database is replicated to.
    ///
    /// It is forgotten if there is nothing that it would be a fork of, as in a place to which the
    /// configuration has moved the replica.
    async fn fork_in(&self, store: &Store) -> io::Result<Option<Generation>> {
        let Some(fork) = self.staging.fork()? else { return Ok(None) };
        if !self.is_empty(store).await {
            return Ok(Some(fork));
        }
        info!(
            db = %self.database.display(), name = self.options.name, %fork,
            "there is nothing in this place that the database was a fork of: it is replicated there"
        );
        self.staging.forget_fork()?;
        Ok(None)
    }

    /// Whether a store holds nothing of the replica. Waits until the store answers.
    async fn is_empty(&self, store: &Store) -> bool {
        let look = async || {
            let generations = catalog::generations(store).await?;
            Ok(generations.is_empty() && catalog::forks(store).await?.is_empty())
        };
        self.insist("looking at the replica", || look().boxed()).await
    }

    /// Announces that the database is replicated to a fork, and that a person has to decide.
    pub(super) fn announce_fork(&self, generation: Generation) {
        self.metrics.set_diverged(true);
        error!(
            db = %self.database.display(), name = self.options.name, fork = %generation,
            "DIVERGED: replicating to a fork, because the replica holds another history, which is \
             left as it is. If another daemon writes to it, end that one first. `restore` gives \
             that history, `litestream restore -fork {generation} -o FILE {arguments}` this \
             database. If that history is right, stop and run `litestream restore -force \
             {arguments}`; if this database is, start once with `replicate -on-divergence continue`",
            arguments = self.restore_arguments
        );
    }
}
