//! Objects whose time is only known to the second.

use std::collections::HashSet;
use std::time::SystemTime;

use super::replica::Replica;
use crate::catalog;
use crate::format::{History, Key, moment, moments};
use crate::store::ObjectStore;

impl<S: ObjectStore> Replica<S> {
    /// What was committed after `time`, although it was stored at or before it by the clock of the
    /// store: S3 counts in whole seconds. Seals give the time of the commit to the millisecond.
    ///
    /// An object that cannot be read, or has no seal, is not returned: the restore will deal with
    /// it.
    pub(super) async fn later_than(&self, history: &History, time: SystemTime) -> HashSet<Key> {
        let generation = history.generation;
        let mut later = HashSet::new();
        let is_unsure = |created| created <= time && moments(created).1 > time;
        // Never the first one: without it nothing could be restored.
        for snapshot in history.snapshots.iter().skip(1).filter(|found| is_unsure(found.created)) {
            let key = Key::Snapshot { generation, index: snapshot.index };
            if self.is_later(key, (snapshot.size, snapshot.created), time).await {
                later.insert(key);
            }
        }
        // Backwards, since each was committed before the next one.
        for segment in history.segments.iter().rev().filter(|segment| is_unsure(segment.created)) {
            let key = Key::Segment { generation, pos: segment.pos };
            if !self.is_later(key, (segment.size, segment.created), time).await {
                break;
            }
            later.insert(key);
        }
        later
    }

    async fn is_later(
        &self,
        key: Key,
        (size, created): (u64, SystemTime),
        time: SystemTime,
    ) -> bool {
        match catalog::seal(&*self.store, key, size).await {
            Ok(Ok(Some(seal))) => moment(created, seal.committed) > time,
            _ => false,
        }
    }
}
