use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::plan::Plan;
use super::retry::retrying;
use super::stray::{Stray, strays};
use crate::format::{Generation, History, Key, Seal, WalIndex};
use crate::store::{self, Object, ObjectStore, StoreError};

/// A replica and what is in it.
#[derive(Debug)]
pub(super) struct Replica<S> {
    pub(super) name: String,
    pub(super) store: Arc<S>,
    pub(super) histories: Vec<History>,
}

impl<S> Replica<S> {
    /// All objects that were listed, and whose they are.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Key)> {
        self.histories.iter().flat_map(|history| {
            let generation = history.generation;
            let snapshots = history.snapshots.iter().map(|snapshot| snapshot.index);
            let segments = history.segments.iter().map(|segment| segment.pos);
            let snapshots = snapshots.map(move |index| Key::Snapshot { generation, index });
            let segments = segments.map(move |pos| Key::Segment { generation, pos });
            snapshots.chain(segments).map(|key| (self.name.as_str(), key))
        })
    }
}

impl<S: ObjectStore> Replica<S> {
    /// Lists all generations, with `parallelism` requests at a time.
    pub(super) async fn list(
        name: String,
        store: Arc<S>,
        parallelism: usize,
    ) -> store::Result<Self> {
        let what = format!("{name}: {}", Key::GENERATIONS);
        let names = retrying(&what, || store.list_directories(Key::GENERATIONS)).await?;
        let generations = names.into_iter().filter_map(|name| name.parse::<Generation>().ok());
        let histories = stream::iter(generations)
            .map(|generation| history(&name, &*store, generation))
            .buffered(parallelism)
            .try_collect()
            .await?;
        Ok(Self { name, store, histories })
    }

    /// Puts the plans first that are sure to give a whole database: their snapshot was made by us,
    /// or the WAL went on after it.
    ///
    /// The number is that of the sure ones.
    pub(super) async fn prefer_sure(&self, plans: Vec<Plan>) -> store::Result<(Vec<Plan>, usize)> {
        let (mut sure, mut unsure) = (Vec::new(), Vec::new());
        for plan in plans {
            if plan.caught_up() || self.is_sealed(&plan).await? {
                sure.push(plan);
            } else {
                unsure.push(plan);
            }
        }
        let count = sure.len();
        sure.append(&mut unsure);
        Ok((sure, count))
    }

    /// Finds the strays around the beginning of a log that does not continue what is before it.
    pub(super) async fn strays(
        &self,
        history: &History,
        begin: WalIndex,
        parallelism: usize,
    ) -> store::Result<Vec<Stray>> {
        let generation = history.generation;
        let near = |index: WalIndex| index == begin || index.next() == Some(begin);
        // That it was gone on with may be seen in what is behind it alone.
        let behind = history.segments.iter().find(|segment| begin < segment.pos.index);
        let segments = history.segments.iter().filter(|segment| near(segment.pos.index));
        let segments = segments
            .chain(behind)
            .map(|segment| (Key::Segment { generation, pos: segment.pos }, segment.size));
        let behind = history.snapshots.iter().find(|snapshot| begin < snapshot.index);
        let behind =
            behind.map(|found| (Key::Snapshot { generation, index: found.index }, found.size));
        let objects: Vec<(Key, u64)> = segments.chain(behind).collect();
        let seals: Vec<Option<Seal>> = stream::iter(objects)
            .map(|(key, size)| async move {
                let seal = match self.seal(key, size).await {
                    Err(StoreError::NotFound { .. }) => None,
                    seal => seal?,
                };
                let here = |seal: &Seal| (seal.generation, seal.start) == (generation, key.start());
                Ok::<_, StoreError>(seal.filter(here))
            })
            .buffered(parallelism)
            .try_collect()
            .await?;
        Ok(strays(&seals.into_iter().flatten().collect::<Vec<_>>()))
    }

    async fn is_sealed(&self, plan: &Plan) -> store::Result<bool> {
        let Some((key, size)) = plan.objects().next() else { return Ok(false) };
        Ok(self.seal(key, size).await?.is_some())
    }

    /// The seal of an object of that size, if it has one that is unaltered.
    async fn seal(&self, key: Key, size: u64) -> store::Result<Option<Seal>> {
        let key = key.to_string();
        let range = size.saturating_sub(Seal::SIZE as u64)..size;
        if range.is_empty() {
            return Ok(None);
        }
        let tail = retrying(&key, || self.store.get(&key, range.clone())).await?;
        Ok(Seal::at_end(&tail).ok().flatten())
    }
}

async fn history(
    name: &str,
    store: &impl ObjectStore,
    generation: Generation,
) -> store::Result<History> {
    let prefix = Key::generation_prefix(generation);
    let objects = retrying(&format!("{name}: {prefix}"), || store.list(&prefix)).await?;
    let known = objects.into_iter().filter_map(|Object { key, size, created }| {
        Some((key.parse::<Key>().ok()?, size, created))
    });
    Ok(History::new(generation, known))
}
