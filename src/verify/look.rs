use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Verified;
use super::check::{Defect, Found, check};
use crate::format::{Generation, History, Key, Seal};
use crate::restore::{Stray, retrying, strays};
use crate::store::{self, ObjectStore, StoreError};

/// What there is of a generation at some moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) history: History,
    seals: BTreeMap<Key, Found>,
    /// What a restore leaves out. It is in neither of the others.
    strays: Vec<Stray>,
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
        let mut seals: BTreeMap<Key, Found> =
            seals.into_iter().filter_map(|(key, found)| Some((key, found?))).collect();
        let strays = strays(&in_place(&seals));
        for stray in &strays {
            seals.remove(&stray.key());
        }
        let there = known.into_iter().filter(|(key, ..)| seals.contains_key(key));
        Ok(Self { history: History::new(generation, there), seals, strays })
    }

    /// Everything that is wrong, strays first.
    pub(super) fn defects(&self) -> Vec<Defect> {
        let strays = self.strays.iter();
        let strays = strays.map(|stray| Defect { object: stray.key(), problem: stray.to_string() });
        strays.chain(check(&self.history, &self.seals)).collect()
    }

    /// Those of the defects that are in the way of a restore.
    pub(super) fn in_the_way(&self, defects: &[Defect]) -> Vec<Defect> {
        let is_stray = |defect: &Defect| self.strays.iter().any(|of| of.key() == defect.object);
        defects.iter().filter(|defect| !is_stray(defect)).cloned().collect()
    }

    /// Whether something is gone that was there.
    pub(super) fn vanished(&self, now: &Self) -> bool {
        self.seals.keys().any(|key| !now.seals.contains_key(key))
    }

    /// `None` without any object.
    pub(super) fn summary(self, defects: Vec<Defect>) -> Option<Verified> {
        let Self { history, seals, .. } = self;
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

/// The seals that are those of the objects that they were found in.
fn in_place(seals: &BTreeMap<Key, Found>) -> Vec<Seal> {
    let seals = seals.iter().filter_map(|(key, found)| Some((key, (*found).ok()??)));
    seals.filter(|(key, seal)| seal.is_of(**key)).map(|(_, seal)| seal).collect()
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
