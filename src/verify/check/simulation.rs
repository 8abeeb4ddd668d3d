//! Intact generations of any shape, in which one thing goes wrong.

use std::time::SystemTime;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::format::{Content, Digest, Link};

const GENERATION: Generation = Generation::from_bits(7);

/// A generation as the daemon writes it: logs, each with its number of segments. Some have a
/// snapshot before them, with the number of segments that were there when it was copied.
fn generation(logs: &[(u64, Option<u64>)]) -> BTreeMap<Key, Found> {
    let mut seals = BTreeMap::new();
    let (mut link, mut predecessor) = (Link::default(), None);
    for (number, (segments, snapshot)) in (0..).zip(logs) {
        let index = WalIndex::new(number).unwrap();
        let pos = |at: u64| WalPos { index, offset: at * 100 };
        let snapshot = if number == 0 { Some(snapshot.unwrap_or(0)) } else { *snapshot };
        if let Some(copied) = snapshot {
            let content = Content::Snapshot { predecessor: predecessor.replace(index) };
            let seal = seal(content, pos(0), pos(copied.min(*segments)), link);
            seals.insert(Key::Snapshot { generation: GENERATION, index }, Ok(Some(seal)));
        }
        for at in 0..*segments {
            let content = Content::Segment { checksum: salt(pos(at + 1)) };
            let seal = seal(content, pos(at), pos(at + 1), link);
            link = seal.link();
            let key = Key::Segment { generation: GENERATION, pos: seal.start };
            seals.insert(key, Ok(Some(seal)));
        }
    }
    seals
}

/// What the WAL says at that position, as its salt and its checksum.
fn salt(end: WalPos) -> [u8; 8] {
    if end.offset == 0 { [0; 8] } else { (end.offset | 1 << 60).to_be_bytes() }
}

fn seal(content: Content, start: WalPos, end: WalPos, previous: Link) -> Seal {
    Seal {
        content,
        generation: GENERATION,
        start,
        end,
        salt: salt(end),
        digest: Digest(end.offset.into()),
        previous,
        ..Seal::example()
    }
}

fn defects(seals: &BTreeMap<Key, Found>) -> Vec<Defect> {
    let listed = seals.keys().map(|key| (*key, 1, SystemTime::UNIX_EPOCH));
    check(&History::new(GENERATION, listed), seals)
}

fn shape() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
    prop::collection::vec((1..4_u64, prop::option::of(0..4_u64)), 1..6)
}

/// The segment after `key`, in the order of positions.
fn behind(seals: &BTreeMap<Key, Found>, key: Key) -> Option<Key> {
    let Key::Segment { pos, .. } = key else { return None };
    let segments = seals.keys().copied().filter(|key| matches!(key, Key::Segment { .. }));
    let mut later =
        segments.filter(|next| matches!(next, Key::Segment { pos: next, .. } if pos < *next));
    later.next()
}

proptest! {
    #[test]
    fn finds_nothing_in_what_the_daemon_writes_and_deletes(
        shape in shape(),
        expired in any::<Index>(),
    ) {
        let mut seals = generation(&shape);
        prop_assert_eq!(defects(&seals), []);
        // Delete everything before some snapshot, as `retention` does.
        let index = |key: &Key| match key {
            Key::Snapshot { index, .. } => *index,
            Key::Segment { pos, .. } => pos.index,
        };
        let snapshots: Vec<Key> =
            seals.keys().copied().filter(|key| matches!(key, Key::Snapshot { .. })).collect();
        let base = index(&snapshots[expired.index(snapshots.len())]);
        seals.retain(|key, _| base <= index(key));
        prop_assert_eq!(defects(&seals), []);
    }

    #[test]
    fn names_what_was_lost_or_what_follows_it(shape in shape(), lost in any::<Index>()) {
        let mut seals = generation(&shape);
        let keys: Vec<Key> = seals.keys().copied().collect();
        let lost = keys[lost.index(keys.len())];
        seals.remove(&lost);
        let named: Vec<Key> = defects(&seals).iter().map(|defect| defect.object).collect();
        match (lost, behind(&seals, lost)) {
            // Nothing after it needs this segment.
            (Key::Segment { .. }, None) => {
                prop_assert!(named.iter().all(|key| *key == lost), "{named:?}");
            }
            (Key::Segment { .. }, Some(next)) => {
                prop_assert!(!named.is_empty(), "{lost} is missed by nobody");
                prop_assert!(named.iter().all(|key| *key == lost || *key == next), "{named:?}");
            }
            (Key::Snapshot { index, .. }, _) if index == WalIndex::default() => {
                prop_assert_eq!(named, [lost]);
            }
            // Only the next snapshot names it.
            (Key::Snapshot { .. }, _) => {
                let is_later = |key: &Key| matches!(key, Key::Snapshot { .. }) && lost < *key;
                let expected = if seals.keys().any(is_later) { vec![lost] } else { Vec::new() };
                prop_assert_eq!(named, expected);
            }
        }
    }

    #[test]
    fn names_what_was_altered(
        shape in shape(),
        one in any::<Index>(),
        other in any::<Index>(),
        how in 0..4_u8,
    ) {
        let mut seals = generation(&shape);
        let keys: Vec<Key> = seals.keys().copied().collect();
        let (one, other) = (keys[one.index(keys.len())], keys[other.index(keys.len())]);
        let was = seals[&one];
        match how {
            0 => drop(seals.insert(one, Ok(None))),
            1 => drop(seals.insert(one, Err("its seal is altered"))),
            2 => drop(seals.insert(one, seals[&other])),
            _ => {
                let mut seal = was.unwrap().unwrap();
                seal.generation = Generation::from_bits(8);
                seals.insert(one, Ok(Some(seal)));
            }
        }
        // If there is only one object, nothing shows that it had a seal.
        if seals[&one] == was || (how == 0 && keys.len() == 1) {
            return Ok(());
        }
        let named: Vec<Key> = defects(&seals).iter().map(|defect| defect.object).collect();
        prop_assert!(named.contains(&one), "{one} is not among {named:?}");
    }
}
