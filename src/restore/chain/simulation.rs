//! Two histories that share their beginning, and replicas in which something was lost or mixed up.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::format::Digest;

const GENERATION: Generation = Generation::from_bits(7);

#[derive(Clone, Debug)]
enum Fault {
    None,
    Lost(Index),
    /// One segment of the other history.
    Other(Index),
    /// All segments from there on of the other history.
    Switch(Index),
    /// Two adjacent segments, each under the name of the other.
    Exchange(Index),
    /// Only the number of pages that the frames give is wrong.
    Pages(Index),
}

fn fault() -> impl Strategy<Value = Fault> {
    let at = any::<Index>;
    prop_oneof![
        Just(Fault::None),
        at().prop_map(Fault::Lost),
        at().prop_map(Fault::Other),
        at().prop_map(Fault::Switch),
        at().prop_map(Fault::Exchange),
        at().prop_map(Fault::Pages),
    ]
}

/// The segments of logs with the given numbers of segments. From number `fork` on, they differ.
fn history(logs: &[u64], fork: usize) -> Vec<Seal> {
    let mut link = Link::default();
    let mut seals = Vec::new();
    for (index, segments) in (0..).zip(logs) {
        let index = WalIndex::new(index).unwrap();
        for at in 0..*segments {
            let content = u128::from(fork <= seals.len());
            let pos = |offset| WalPos { index, offset };
            let (start, end) = (pos(at * 100), pos((at + 1) * 100));
            let seal = segment(start, end, content, link);
            link = seal.link();
            seals.push(seal);
        }
    }
    seals
}

fn segment(start: WalPos, end: WalPos, digest: u128, previous: Link) -> Seal {
    let checksum = (end.offset + u64::try_from(digest).unwrap()).to_be_bytes();
    Seal {
        content: Content::Segment { checksum },
        generation: GENERATION,
        start,
        end,
        page_size: 512,
        pages: 3,
        salt: u64::from(end.index.get()).to_be_bytes(),
        digest: Digest(digest),
        previous,
        ..Seal::example()
    }
}

/// What the frames of a segment lead to if they match the seal.
fn reached(seal: &Seal) -> Reached {
    let Content::Segment { checksum } = seal.content else { panic!("{seal:?}") };
    Reached {
        end: seal.end,
        salt: Salt(seal.salt),
        checksum: Checksum::from_bytes(checksum),
        page_size: PageSize::new(seal.page_size).unwrap(),
        pages: seal.pages.into(),
    }
}

/// Whether the names alone allow a segment at `start` after `end`.
fn continues(end: WalPos, start: WalPos) -> bool {
    start == end || (start.offset == 0 && Some(start.index) == end.index.next())
}

/// Applies segments, each under a name, to a snapshot.
fn apply(snapshot: Seal, segments: &[(WalPos, Seal)], wrong: Option<usize>) -> Result<(), String> {
    let mut chain = Chain::new(GENERATION);
    chain.snapshot(snapshot.start.index, Some(snapshot), 3 * 512)?;
    let mut end = snapshot.start;
    for (at, (name, seal)) in segments.iter().enumerate() {
        if !continues(end, *name) {
            return Err("the names show a gap".to_owned());
        }
        let mut reached = reached(seal);
        reached.pages += u64::from(wrong == Some(at));
        let linked = chain.segment(*name, Some(*seal), &reached);
        if !linked.map_err(|error| error.to_string())? {
            return Err("the link proves nothing".to_owned());
        }
        end = seal.end;
    }
    Ok(())
}

proptest! {
    /// Accepts the start of one of the two histories from the snapshot on, and nothing else.
    #[test]
    fn takes_nothing_but_one_unbroken_history(
        logs in prop::collection::vec(1..4_u64, 1..5),
        first in any::<Index>(),
        fork in any::<Index>(),
        fault in fault(),
    ) {
        let total = history(&logs, usize::MAX).len();
        let (one, other) = (history(&logs, usize::MAX), history(&logs, fork.index(total)));
        let first = first.index(logs.len());
        let at = one.iter().position(|seal| seal.start.index.get() as usize == first).unwrap();
        let start = one[at].start;
        let content = Content::Snapshot { predecessor: None };
        let snapshot = Seal { content, ..segment(start, start, 0, one[at].previous) };
        let mut segments: Vec<(WalPos, Seal)> =
            one[at..].iter().map(|seal| (seal.start, *seal)).collect();
        let rest: Vec<(WalPos, Seal)> =
            other[at..].iter().map(|seal| (seal.start, *seal)).collect();
        let count = segments.len();
        let mut wrong = None;
        match fault {
            Fault::None => (),
            Fault::Lost(index) => drop(segments.remove(index.index(count))),
            Fault::Other(index) => segments[index.index(count)] = rest[index.index(count)],
            Fault::Switch(index) => {
                let from = index.index(count);
                segments[from..].copy_from_slice(&rest[from..]);
            }
            Fault::Exchange(_) if count == 1 => (),
            Fault::Exchange(index) => {
                let from = index.index(count - 1);
                let (left, right) = (segments[from].1, segments[from + 1].1);
                (segments[from].1, segments[from + 1].1) = (right, left);
            }
            Fault::Pages(index) => wrong = Some(index.index(count)),
        }
        let taken = apply(snapshot, &segments, wrong);
        let forked_before = other[..at] != one[..at];
        let is_one = one[at..].iter().zip(&segments).all(|(a, b)| (a.start, *a) == *b);
        let is_other = !forked_before && rest.iter().zip(&segments).all(|(a, b)| a == b);
        prop_assert_eq!(taken.is_ok(), (is_one || is_other) && wrong.is_none(), "{:?}", taken);
    }
}
