use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Verified;
use super::check::{Defect, check};
use crate::catalog::{self, Found};
use crate::format::{Generation, History, Key, Seal, moment};
use crate::restore::{Stray, strays};
use crate::store::{self, ObjectStore, StoreError};

/// What there is of a generation at one moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) history: History,
    seals: BTreeMap<Key, Found>,
    /// The strays, which a restore leaves out. They are neither in `history` nor in `seals`.
    strays: Vec<Stray>,
}

impl Look {
    /// Lists a generation and reads all of its seals, with `parallelism` requests at a time.
    pub(super) async fn at(
        store: &impl ObjectStore,
        generation: Generation,
        parallelism: usize,
    ) -> store::Result<Self> {
        let mut history = catalog::history(store, generation).await?;
        let objects: Vec<(Key, u64)> = history.objects().collect();
        let seals: BTreeMap<Key, Option<Found>> =
            stream::iter(objects)
                .map(|(key, size)| async move {
                    Ok::<_, StoreError>((key, found(store, key, size).await?))
                })
                .buffer_unordered(parallelism)
                .try_collect()
                .await?;
        // Leave out what has expired since the listing.
        let mut seals: BTreeMap<Key, Found> =
            seals.into_iter().filter_map(|(key, found)| Some((key, found?))).collect();
        let strays = strays(&in_place(&seals));
        for stray in &strays {
            seals.remove(&stray.key());
        }
        history.retain(|key| seals.contains_key(&key));
        Ok(Self { history, seals, strays })
    }

    /// Everything that is wrong, strays first.
    pub(super) fn defects(&self) -> Vec<Defect> {
        let strays = self.strays.iter();
        let strays = strays.map(|stray| Defect { object: stray.key(), problem: stray.to_string() });
        strays.chain(check(&self.history, &self.seals)).collect()
    }

    /// The defects that hinder a restore.
    pub(super) fn in_the_way(&self, defects: &[Defect]) -> Vec<Defect> {
        let is_stray = |defect: &Defect| self.strays.iter().any(|of| of.key() == defect.object);
        defects.iter().filter(|defect| !is_stray(defect)).cloned().collect()
    }

    /// Whether an object is gone in `now`.
    pub(super) fn vanished(&self, now: &Self) -> bool {
        self.seals.keys().any(|key| !now.seals.contains_key(key))
    }

    /// The result of the verification. `None` if there is no object.
    pub(super) fn summary(self, defects: Vec<Defect>) -> Option<Verified> {
        let Self { history, seals, .. } = self;
        let (_, created) = history.created()?;
        let sealed = history.created_last().filter_map(|(key, _)| (*seals.get(&key)?).ok()?);
        let last = sealed.map(|seal| moment(created, seal.committed)).max().unwrap_or(created);
        let from = history.snapshots.first().map(|snapshot| snapshot.created);
        Some(Verified {
            generation: history.generation,
            from,
            to: from.map(|_| last),
            end: seals.values().filter_map(|found| Some((*found).ok()??.end)).max(),
            objects: seals.len(),
            bytes: history.objects().map(|(_, size)| size).sum(),
            unsealed: seals.values().filter(|found| matches!(found, Ok(None))).count(),
            defects,
        })
    }
}

/// The seals that belong to the objects in which they were found.
fn in_place(seals: &BTreeMap<Key, Found>) -> Vec<Seal> {
    let seals = seals.iter().filter_map(|(key, found)| Some((key, (*found).ok()??)));
    seals.filter(|(key, seal)| seal.is_of(**key)).map(|(_, seal)| seal).collect()
}

/// Reads the end of an object. `None` if it is gone.
async fn found(store: &impl ObjectStore, key: Key, size: u64) -> store::Result<Option<Found>> {
    match catalog::seal(store, key, size).await {
        Err(StoreError::NotFound { .. }) => Ok(None),
        found => found.map(Some),
    }
}
