//! Generations that end later than the one that a restore took.

use futures_util::future::join_all;
use tracing::warn;

use super::replica::Replica;
use super::{Restored, Verdict};
use crate::catalog;
use crate::format::Generation;
use crate::store::ObjectStore;

/// Warns of generations that were committed to later than what was restored. By the clock of the
/// store, which decides, they are older: it was set back, or the objects were copied, or touched.
pub(super) async fn warn_of_later<S: ObjectStore>(replicas: &[Replica<S>], restored: &Restored) {
    let Verdict::Identical { committed } = restored.verdict else { return };
    let Some(replica) = replicas.iter().find(|replica| replica.name == restored.replica) else {
        return;
    };
    let others = replica.histories.iter().filter(|of| of.generation != restored.generation);
    let newest = others.filter_map(|history| Some((history.generation, history.newest()?)));
    let found = join_all(newest.map(|(generation, (key, size))| async move {
        let seal = catalog::seal(&*replica.store, key, size).await.ok()?.ok()??;
        (seal.committed > committed).then_some(generation)
    }));
    let later: Vec<String> = found.await.iter().flatten().map(Generation::to_string).collect();
    if !later.is_empty() {
        let (replica, generation) = (&replica.name, restored.generation);
        let later = later.join(", ");
        warn!(
            replica, %generation, later,
            "RESTORED the generation that is the latest by the clock of the store, and there is one \
             with later commits: restore that with -generation"
        );
    }
}
