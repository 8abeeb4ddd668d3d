//! What a replica holds, as its listings and the ends of its objects show it.
//!
//! A store knows keys and bytes. Here they become generations, histories, seals, and the record of
//! what was proven. Everything that reads a replica does so through these few functions: restores,
//! `verify`, validation, the task that sends to it, and the tables of the command line.
//!
//! Each function asks the given store once. Whether a failed request is retried is decided where
//! the store is opened: it is [`Retrying`](crate::store::Retrying) for callers that need the
//! answer, and plain for the task that sends, which does its own retrying.

mod below;
mod proof;
mod seal;

use std::time::SystemTime;

use futures_util::stream::{self, StreamExt, TryStreamExt};

pub use below::replicas_below;
pub use proof::{AlteredRecord, FoundRecord, proof_record};
pub use seal::{Found, seal};

use crate::format::{Generation, History, Key, Segment, Snapshot, WalIndex, moment};
use crate::store::{Object, ObjectStore, Result, StoreError};

/// The generations that there are, in no meaningful order.
pub async fn generations(store: &impl ObjectStore) -> Result<Vec<Generation>> {
    generations_below(store, Key::GENERATIONS).await
}

/// The forks, each by its first generation. They are replicas of their own, which the other
/// functions ignore.
pub async fn forks(store: &impl ObjectStore) -> Result<Vec<Generation>> {
    generations_below(store, Key::FORKS).await
}

/// Where Litestream 0.5 keeps its objects, by their levels.
pub const LATER_FORMAT: &str = "ltx/";

/// Whether there is a backup of Litestream 0.5, whose format this program does not read.
pub async fn has_later_format(store: &impl ObjectStore) -> Result<bool> {
    Ok(!store.list_directories(LATER_FORMAT).await?.is_empty())
}

/// Everything in a replica, with `parallelism` requests at a time.
pub async fn histories(store: &impl ObjectStore, parallelism: usize) -> Result<Vec<History>> {
    let generations = generations(store).await?;
    let histories = stream::iter(generations).map(|generation| history(store, generation));
    histories.buffered(parallelism).try_collect().await
}

/// Everything in a generation. It is empty if the generation does not exist.
pub async fn history(store: &impl ObjectStore, generation: Generation) -> Result<History> {
    listed(store, generation, &Key::generation_prefix(generation)).await
}

/// When the first object of a generation was stored, and the last one, which `-timestamp` includes
/// from then on. Reads a seal or two.
pub async fn span(
    store: &impl ObjectStore,
    history: &History,
) -> Result<Option<(SystemTime, SystemTime)>> {
    let Some((first, created)) = history.created() else { return Ok(None) };
    let mut last = created;
    for (key, size) in history.created_last() {
        match seal(store, key, size).await {
            Ok(Ok(Some(seal))) => last = last.max(moment(created, seal.committed)),
            // One without a seal counts from the beginning of its second; and not everybody who may
            // list may also read.
            Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Rejected(_)) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(Some((first, last)))
}

pub async fn snapshots(store: &impl ObjectStore, generation: Generation) -> Result<Vec<Snapshot>> {
    let found = listed(store, generation, &Key::snapshots_prefix(generation)).await;
    Ok(found?.snapshots)
}

pub async fn segments(store: &impl ObjectStore, generation: Generation) -> Result<Vec<Segment>> {
    let found = listed(store, generation, &Key::segments_prefix(generation)).await;
    Ok(found?.segments)
}

/// The segments of one log of a generation.
pub async fn segments_of_log(
    store: &impl ObjectStore,
    generation: Generation,
    index: WalIndex,
) -> Result<Vec<Segment>> {
    let found = listed(store, generation, &Key::log_prefix(generation, index)).await;
    Ok(found?.segments)
}

/// The generations below `prefix`. Anything with another kind of name is not ours, and ignored.
async fn generations_below(store: &impl ObjectStore, prefix: &str) -> Result<Vec<Generation>> {
    let names = store.list_directories(prefix).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The objects of a generation whose keys begin with `prefix`, without foreign ones.
async fn listed(store: &impl ObjectStore, generation: Generation, prefix: &str) -> Result<History> {
    let objects = store.list(prefix).await?.into_iter();
    let known = objects
        .filter_map(|Object { key, size, created }| Some((key.parse().ok()?, size, created)));
    Ok(History::new(generation, known))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::store::FileStore;

    #[tokio::test]
    async fn sees_what_is_of_a_replica_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path().to_owned());
        for key in [
            "generations/0000000000000001/snapshots/00000000.snapshot.lz4",
            "generations/0000000000000001/snapshots/00000000.snapshot.lz4.bak",
            "generations/0000000000000001/wal/00000000_00000000.wal.lz4",
            "generations/0000000000000001/wal/00000010_00000000.wal.lz4",
            "generations/lost+found/wal/00000000_00000000.wal.lz4",
            "forks/0000000000000002/generations/0000000000000003/wal/00000000_00000000.wal.lz4",
            "verified",
        ] {
            store.put(key, Box::new(Cursor::new("1234")), 4).await.unwrap();
        }
        let [first, fork] = [1, 2].map(Generation::from_bits);
        assert_eq!(generations(&store).await.unwrap(), [first]);
        assert_eq!(forks(&store).await.unwrap(), [fork]);
        let histories = histories(&store, 2).await.unwrap();
        assert_eq!(histories, [history(&store, first).await.unwrap()]);
        assert_eq!(histories[0].snapshots, snapshots(&store, first).await.unwrap());
        assert_eq!(histories[0].segments, segments(&store, first).await.unwrap());
        let sizes: Vec<u64> = histories[0].objects().map(|(_, size)| size).collect();
        assert_eq!(sizes, [4, 4, 4]);
        let of_log = segments_of_log(&store, first, WalIndex::default()).await.unwrap();
        assert_eq!(of_log, histories[0].segments[..1]);
        assert!(history(&store, fork).await.unwrap().objects().next().is_none());
    }
}
