//! Segments that another daemon stored at the same time, and did not live to delete again.
//!
//! Two daemons may go on from the same state, one in the same log and one with the next log. Each
//! stores its segment and then looks for the other's, before it acknowledges the segment or stores
//! another after it. A daemon that sees the other's segment deletes its own. If it dies before
//! that, two segments follow the same one. The one that was continued is the one whose daemon saw
//! no other: so the other one came later, and was never acknowledged. If neither was continued,
//! nothing shows which is the stray: the clock of a store may give the time when an upload began,
//! not when it ended.

use std::collections::HashMap;
use std::fmt;

use crate::format::{Generation, Key, Kind, Seal, WalPos};

/// The error that a segment does not continue what comes before it.
#[derive(Debug)]
pub struct Unlinked(String);

impl Unlinked {
    /// `last` is the seal of the object before `ours`, if that object has one.
    pub fn new(ours: &Seal, last: Option<&Seal>) -> Self {
        match last.filter(|last| are_rivals(last, ours)) {
            Some(last) => Self::undecided(last),
            None => Self(
                "it does not continue the segment before it: one of the two is not the one that \
                 belongs here, or one in between is missing"
                    .to_owned(),
            ),
        }
    }

    /// The segment follows the same one as `last`, and nothing shows which of the two is the
    /// stray.
    pub fn undecided(last: &Seal) -> Self {
        let last = Key::Segment { generation: last.generation, pos: last.start };
        Self(format!(
            "another daemon stored it at the same time as {last}, and which of the two counts is \
             only seen when one of them is gone on with: let the daemon that is in use write \
             again, delete the other one's, or restore what was before both with -timestamp"
        ))
    }
}

impl fmt::Display for Unlinked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unlinked {}

/// Whether both segments follow the same one, `one` in the same log and `next` in the next log.
pub fn are_rivals(one: &Seal, next: &Seal) -> bool {
    [one, next].into_iter().all(|seal| seal.kind() == Kind::Segment)
        && one.previous == next.previous
        && next.start.offset == 0
        && one.start.index.next() == Some(next.start.index)
}

/// A segment that does not belong to the history of its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    pub generation: Generation,
    pub pos: WalPos,
    /// The segment that does belong there, and follows the same one.
    pub beside: WalPos,
}

impl Stray {
    pub fn key(&self) -> Key {
        Key::Segment { generation: self.generation, pos: self.pos }
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beside = Key::Segment { generation: self.generation, pos: self.beside };
        write!(
            f,
            "another daemon stored it at the same time as {beside}, which was gone on with: nobody \
             was told of it, and a restore leaves it out"
        )?;
        if self.beside < self.pos {
            // The stray is named as the start of the next log.
            write!(f, ". What that daemon wrote since it has met it is in a fork")?;
        }
        Ok(())
    }
}

/// Finds strays by the seals of a generation, or of the objects around the beginning of a log.
/// Each seal must belong to the object that it was read from.
pub fn strays(seals: &[Seal]) -> Vec<Stray> {
    let mut behind: HashMap<u128, Vec<&Seal>> = HashMap::new();
    for seal in seals {
        behind.entry(seal.previous.0).or_default().push(seal);
    }
    let went_on = |seal: &Seal| behind.contains_key(&seal.link().0);
    let mut strays = Vec::new();
    for [one, next] in behind.values().flat_map(|seals| pairs(seals)) {
        let (pos, beside) = match (went_on(one), went_on(next)) {
            (true, false) => (next.start, one.start),
            (false, true) => (one.start, next.start),
            _ => continue,
        };
        strays.push(Stray { generation: one.generation, pos, beside });
    }
    strays
}

/// The pairs of segments that were stored at the same time.
fn pairs<'a>(seals: &'a [&'a Seal]) -> impl Iterator<Item = [&'a Seal; 2]> {
    let with = |one: &'a Seal| seals.iter().map(move |next| [one, *next]);
    seals.iter().flat_map(move |one| with(one)).filter(|[one, next]| are_rivals(one, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Content, Link};

    fn seal(name: &str, end: &str, previous: Link) -> Seal {
        Seal {
            start: name.parse().unwrap(),
            end: end.parse().unwrap(),
            previous,
            ..Seal::example()
        }
    }

    /// An acknowledged segment, then one of the same log and one of the next, which both follow
    /// it.
    fn two() -> [Seal; 3] {
        let first = seal("00000000_00000000", "00000000_00000238", Link(5));
        let same = seal("00000000_00000238", "00000000_00000450", first.link());
        let next = seal("00000001_00000000", "00000001_00000238", first.link());
        [first, same, next]
    }

    fn found(seals: &[Seal]) -> Vec<(String, String)> {
        let found = strays(seals).into_iter();
        found.map(|stray| (stray.pos.to_string(), stray.beside.to_string())).collect()
    }

    #[test]
    fn the_one_that_nobody_went_on_with_is_a_stray() {
        let [first, same, next] = two();
        let [same_name, next_name] = [same, next].map(|seal| seal.start.to_string());
        let behind_same = seal("00000000_00000450", "00000000_00000668", same.link());
        let behind_next = seal("00000001_00000238", "00000001_00000450", next.link());
        let expected = [(next_name.clone(), same_name.clone())];
        assert_eq!(found(&[first, same, behind_same, next]), expected);
        let expected = [(same_name, next_name)];
        assert_eq!(found(&[first, same, next, behind_next]), expected);
        let snapshot = Seal { content: Content::Snapshot { predecessor: None }, ..behind_next };
        assert_eq!(found(&[first, same, next, snapshot]), expected, "a snapshot is as good");
    }

    /// Anything that is left out might have been acknowledged.
    #[test]
    fn nothing_is_left_out_without_proof() {
        let [first, same, next] = two();
        assert_eq!(found(&[first, same, next]), [], "neither was gone on with");
        let behind = [
            seal("00000000_00000450", "00000000_00000668", same.link()),
            seal("00000001_00000238", "00000001_00000450", next.link()),
        ];
        assert_eq!(found(&[first, same, next, behind[0], behind[1]]), [], "both were");
        let follows = Seal { previous: same.link(), ..next };
        assert_eq!(found(&[first, same, follows]), [], "one follows the other");
        let far = seal("00000002_00000000", "00000002_00000238", first.link());
        assert_eq!(found(&[first, same, behind[0], far]), [], "it has no place beside it");
    }
}
