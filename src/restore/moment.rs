//! Objects whose time is only known to the second.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::replica::Replica;
use crate::catalog;
use crate::format::{History, Key};
use crate::store::ObjectStore;

const SECOND: Duration = Duration::from_secs(1);

impl<S: ObjectStore> Replica<S> {
    /// What was committed after `time`, although it was stored at or before it by the clock of the
    /// store: S3 counts in whole seconds. Seals give the time of the commit to the millisecond.
    ///
    /// An object that cannot be read, or has no seal, is not returned: the restore will deal with
    /// it.
    pub(super) async fn later_than(&self, history: &History, time: SystemTime) -> HashSet<Key> {
        let generation = history.generation;
        let mut later = HashSet::new();
        let is_unsure = |created: SystemTime| created <= time && is_rounded(created, time);
        // Never the first one: without it nothing could be restored.
        for snapshot in history.snapshots.iter().skip(1).filter(|found| is_unsure(found.created)) {
            let key = Key::Snapshot { generation, index: snapshot.index };
            if self.is_later(key, snapshot.size, time).await {
                later.insert(key);
            }
        }
        // Backwards, since each was committed before the next one.
        for segment in history.segments.iter().rev().filter(|segment| is_unsure(segment.created)) {
            let key = Key::Segment { generation, pos: segment.pos };
            if !self.is_later(key, segment.size, time).await {
                break;
            }
            later.insert(key);
        }
        later
    }

    async fn is_later(&self, key: Key, size: u64, time: SystemTime) -> bool {
        match catalog::seal(&*self.store, key, size).await {
            Ok(Ok(Some(seal))) => seal.committed > time,
            _ => false,
        }
    }
}

/// Whether `created` may be rounded down from a moment after `time`.
fn is_rounded(created: SystemTime, time: SystemTime) -> bool {
    let since = created.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.subsec_nanos() == 0 && time < created + SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_are_not_trusted_within_the_second() {
        let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
        for (created, time, expected) in [
            (27_000, 27_000, true),
            (27_000, 27_999, true),
            (27_000, 28_000, false),
            (27_001, 27_500, false),
        ] {
            assert_eq!(is_rounded(at(created), at(time)), expected, "{created} {time}");
        }
    }
}
