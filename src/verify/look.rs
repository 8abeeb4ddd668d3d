use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Verified;
use super::check::{Defect, Found};
use crate::format::{Generation, History, Key, Seal};
use crate::restore::retrying;
use crate::store::{self, ObjectStore, StoreError};

/// What there is of a generation at some moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) history: History,
    pub(super) seals: BTreeMap<Key, Found>,
}

impl Look {
    /// Lists a generation and reads all of its seals, with `parallelism` requests at a time.
    pub(super) async fn at(
        name: &str,
        store: &impl ObjectStore,
        generation: Generation,
        parallelism: usize,
    ) -> store::Result<Self> {
        let prefix = Key::generation_prefix(generation);
        let objects = retrying(&format!("{name}: {prefix}"), || store.list(&prefix)).await?;
        let known: Vec<_> = objects
            .into_iter()
            .filter_map(|object| {
                Some((object.key.parse::<Key>().ok()?, object.size, object.created))
            })
            .collect();
        let seals: BTreeMap<Key, Option<Found>> = stream::iter(known.clone())
            .map(|(key, size, _)| async move {
                Ok::<_, StoreError>((key, found(store, key, size).await?))
            })
            .buffer_unordered(parallelism)
            .try_collect()
            .await?;
        // What has expired since it was listed is not there.
        let seals: BTreeMap<Key, Found> =
            seals.into_iter().filter_map(|(key, found)| Some((key, found?))).collect();
        let there = known.into_iter().filter(|(key, ..)| seals.contains_key(key));
        Ok(Self { history: History::new(generation, there), seals })
    }

    /// Whether something is gone that was there.
    pub(super) fn vanished(&self, now: &Self) -> bool {
        self.seals.keys().any(|key| !now.seals.contains_key(key))
    }

    /// `None` without any object.
    pub(super) fn summary(self, defects: Vec<Defect>) -> Option<Verified> {
        let Self { history, seals } = self;
        let (_, last) = history.created()?;
        let from = history.snapshots.first().map(|snapshot| snapshot.created);
        let snapshots = history.snapshots.iter().map(|snapshot| snapshot.size);
        let segments = history.segments.iter().map(|segment| segment.size);
        Some(Verified {
            generation: history.generation,
            from,
            to: from.map(|_| last),
            end: seals.values().filter_map(|found| Some((*found).ok()??.end)).max(),
            objects: seals.len(),
            bytes: snapshots.chain(segments).sum(),
            unsealed: seals.values().filter(|found| matches!(found, Ok(None))).count(),
            defects,
        })
    }
}

/// Reads the end of an object. `None` if it is gone.
async fn found(store: &impl ObjectStore, key: Key, size: u64) -> store::Result<Option<Found>> {
    let range = size.saturating_sub(Seal::SIZE as u64)..size;
    if range.is_empty() {
        return Ok(Some(Err("it is empty")));
    }
    let key = key.to_string();
    match retrying(&key, || store.get(&key, range.clone())).await {
        Ok(tail) => Ok(Some(Seal::at_end(&tail))),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
