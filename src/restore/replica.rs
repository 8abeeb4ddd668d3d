use std::sync::Arc;

use futures_util::future::join_all;
use tracing::warn;

use super::plan::Plan;
use super::stray::{Stray, are_rivals, strays};
use crate::catalog;
use crate::format::{History, Key, Seal, Segment, WalIndex};
use crate::store::{self, ObjectStore, StoreError};

/// How many batches to search backwards in a log for the rival of a segment, each with as many
/// requests as a restore sends at a time. If the rival is further back, the two daemons ran side
/// by side for longer than a moment.
const BATCHES_MAX: usize = 100;

/// Whether the snapshot of a plan is consistent once its WAL has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wholeness {
    Sure,
    /// The snapshot may be ahead of all WAL that there is: SQLite has to check it.
    Unsure,
}

/// A replica and what is in it.
#[derive(Debug)]
pub(super) struct Replica<S> {
    pub(super) name: String,
    pub(super) store: Arc<S>,
    pub(super) histories: Vec<History>,
}

impl<S> Replica<S> {
    /// All objects that were listed, each with the name of the replica.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Key)> {
        let objects = self.histories.iter().flat_map(History::objects);
        objects.map(|(key, _)| (self.name.as_str(), key))
    }
}

impl<S: ObjectStore> Replica<S> {
    /// Lists all generations, with `parallelism` requests at a time.
    pub(super) async fn list(
        name: String,
        store: Arc<S>,
        parallelism: usize,
    ) -> store::Result<Self> {
        let histories = catalog::histories(&*store, parallelism).await?;
        Ok(Self { name, store, histories })
    }

    /// Puts those plans first that are sure to give a consistent database: their snapshot was made
    /// by us, or the WAL went on after it.
    pub(super) async fn prefer_sure(
        &self,
        plans: Vec<Plan>,
    ) -> store::Result<Vec<(Plan, Wholeness)>> {
        let (mut sure, mut unsure) = (Vec::new(), Vec::new());
        for plan in plans {
            if plan.caught_up() || self.is_sealed(&plan).await? {
                sure.push((plan, Wholeness::Sure));
            } else {
                unsure.push((plan, Wholeness::Unsure));
            }
        }
        sure.append(&mut unsure);
        Ok(sure)
    }

    /// Finds the strays around the beginning of a log. Sends two requests if all is well. Returns
    /// none if something cannot be read.
    pub(super) async fn strays(
        &self,
        history: &History,
        begin: WalIndex,
        parallelism: usize,
    ) -> Vec<Stray> {
        let found = self.find_strays(history, begin, parallelism).await;
        found.unwrap_or_else(|error| {
            let replica = &self.name;
            warn!(replica, %begin, "cannot look for what another daemon has stored: {error}");
            Vec::new()
        })
    }

    async fn find_strays(
        &self,
        history: &History,
        begin: WalIndex,
        parallelism: usize,
    ) -> store::Result<Vec<Stray>> {
        let (before, rest) = history
            .segments
            .split_at(history.segments.partition_point(|segment| segment.pos.index < begin));
        let is_before = |segment: &&Segment| segment.pos.index.next() == Some(begin);
        let mut before = before.iter().rev().take_while(is_before);
        let (Some(last), Some(next)) = (before.next(), rest.first()) else { return Ok(Vec::new()) };
        let [last, next] =
            [self.segment_seal(history, last).await?, self.segment_seal(history, next).await?];
        let (Some(last), Some(next)) = (last, next) else { return Ok(Vec::new()) };
        if last.link() == next.previous {
            return Ok(Vec::new());
        }
        let mut seals = vec![last, next];
        // The segment after `next` shows whether `next` was continued.
        let behind: Vec<&Segment> = rest.iter().skip(1).take(1).collect();
        let batches = std::iter::once(behind).chain(std::iter::from_fn(|| {
            let batch: Vec<&Segment> = before.by_ref().take(parallelism).collect();
            (!batch.is_empty()).then_some(batch)
        }));
        for batch in batches.take(BATCHES_MAX) {
            let found =
                join_all(batch.into_iter().map(|one| self.segment_seal(history, one))).await;
            for seal in found {
                seals.extend(seal?);
            }
            if seals.iter().any(|seal| are_rivals(seal, &next)) {
                break;
            }
        }
        let generation = history.generation;
        for snapshot in history.snapshots.iter().filter(|of| begin <= of.index).take(2) {
            let key = Key::Snapshot { generation, index: snapshot.index };
            seals.extend(self.seal_in_place(key, snapshot.size).await?);
        }
        Ok(strays(&seals))
    }

    /// Whether a generation without a snapshot is one of ours: then it had one, because the
    /// snapshot is stored before any segment. Retention deletes the snapshots first, but only when
    /// another generation is newer.
    pub(super) async fn has_lost_its_snapshot(&self, history: &History) -> store::Result<bool> {
        let newest = history.segments.last().filter(|_| history.snapshots.is_empty());
        let Some(newest) = newest else { return Ok(false) };
        Ok(self.segment_seal(history, newest).await?.is_some())
    }

    async fn segment_seal(
        &self,
        history: &History,
        segment: &Segment,
    ) -> store::Result<Option<Seal>> {
        let key = Key::Segment { generation: history.generation, pos: segment.pos };
        self.seal_in_place(key, segment.size).await
    }

    /// The seal of an object, if the object exists and the seal was made for it.
    async fn seal_in_place(&self, key: Key, size: u64) -> store::Result<Option<Seal>> {
        match self.seal(key, size).await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            seal => Ok(seal?.filter(|seal| seal.is_of(key))),
        }
    }

    async fn is_sealed(&self, plan: &Plan) -> store::Result<bool> {
        let Some((key, size)) = plan.objects().next() else { return Ok(false) };
        Ok(self.seal(key, size).await?.is_some())
    }

    /// The seal of an object of `size` bytes, if it has an unaltered one.
    async fn seal(&self, key: Key, size: u64) -> store::Result<Option<Seal>> {
        Ok(catalog::seal(&*self.store, key, size).await?.ok().flatten())
    }
}
