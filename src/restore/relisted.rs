use std::collections::HashSet;

use super::replica::Replica;
use crate::format::Key;

/// Whether a second listing shows that the first was not a true picture of the replica: something
/// has expired since, or an object has appeared that precedes one in the first.
///
/// Then faults found with the first listing say nothing about the replica.
pub(super) fn has_changed<S>(before: &[Replica<S>], now: &[Replica<S>]) -> bool {
    let [before, now] = [before, now]
        .map(|replicas| replicas.iter().flat_map(Replica::keys).collect::<HashSet<_>>());
    let is_late = |(replica, key): &(&str, Key)| {
        before.iter().any(|(of, other)| {
            of == replica && other.generation() == key.generation() && key.start() < other.start()
        })
    };
    before.iter().any(|key| !now.contains(key)) || now.difference(&before).any(is_late)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::format::{Generation, History, WalPos};

    fn replica(segments: &[u64]) -> [Replica<()>; 1] {
        let generation = Generation::from_bits(7);
        let index = "00000000_00000000".parse::<WalPos>().unwrap().index;
        let segments = segments.iter().map(|&offset| {
            (Key::Segment { generation, pos: WalPos { index, offset } }, 1, SystemTime::UNIX_EPOCH)
        });
        let history = History::new(generation, segments);
        [Replica { name: "r".to_owned(), store: Arc::new(()), histories: vec![history] }]
    }

    /// A store may list in no order. If two segments are stored while the pages of a listing are
    /// read, the second may be on the next page, while the place of the first has been passed.
    /// Then a restore fails, though nothing is missing.
    #[test]
    fn a_segment_that_was_listed_late_is_a_reason_to_try_again() {
        for (before, now, expected) in [
            (&[0, 1, 3][..], &[0, 1, 2, 3][..], true),
            (&[0, 1, 3], &[0, 1, 3], false),
            // A replica that is being written to looks like this.
            (&[0, 1, 3], &[0, 1, 3, 4, 5], false),
            (&[0, 1, 3], &[1, 3], true),
            (&[], &[0], false),
        ] {
            let found = has_changed(&replica(before), &replica(now));
            assert_eq!(found, expected, "{before:?} {now:?}");
        }
    }
}
