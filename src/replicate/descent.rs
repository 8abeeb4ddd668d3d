//! Does the database descend from what a replica holds? Decided on values alone.
//!
//! A fresh, an older or another database must not take the place of a history that it does not
//! continue: the next restore would bring that database back instead, and retention would delete
//! the history.

use super::sent::Sent;
use super::tip::Tip;
use crate::format::{Generation, Key, Kind};

/// What there is to judge a database's descent by.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// The generations that were captured from this very database.
    pub(super) lineage: Vec<Generation>,
    /// What the replica acknowledged last.
    pub(super) sent: Option<Sent>,
    /// The newest object of the replica that the database was restored from.
    pub(super) restored_from: Option<Key>,
    /// The generation that Litestream 0.3 is writing, as its state beside the database says.
    pub(super) litestream: Option<Generation>,
    /// Where the newest object of the replica ends, the log of the database has the very frame that
    /// the object ends with.
    pub(super) in_log: bool,
}

/// Whether everything that the replica holds is in the database, or was there before it was
/// changed.
pub(super) fn descends(tip: &Tip, evidence: &Evidence) -> bool {
    let Evidence { lineage, sent, restored_from, litestream, in_log } = evidence;
    let generation = tip.key.generation();
    restored_from.is_some_and(|newest| is_up_to(tip.key, newest))
        || *in_log
        || (tip.seal.is_none() && *litestream == Some(generation))
        || (lineage.contains(&generation) && is_ours(tip, sent.as_ref()))
}

/// Whether nobody else has gone on with a generation of ours, such as the daemon of a copy of the
/// database, or we ourselves before an older copy of the volume was put back.
fn is_ours(tip: &Tip, sent: Option<&Sent>) -> bool {
    let sent = sent.filter(|sent| sent.generation == tip.key.generation());
    match (&tip.seal, sent) {
        // Some of what was sent may have been lost.
        (Some(seal), Some(sent)) => sent.link == seal.link() || seal.end < sent.end,
        // Stored just before the end of an earlier process.
        (Some(seal), None) => seal.kind() == Kind::Snapshot,
        // The newest object is damaged.
        (None, Some(sent)) => {
            // A snapshot of where we are says no more than what was sent.
            let is_snapshot = matches!(tip.key, Key::Snapshot { .. });
            tip.key.start() < sent.end || (is_snapshot && tip.key.start() == sent.end)
        }
        (None, None) => false,
    }
}

/// Whether a replica that ends with `tip` has no more than the one that the database was restored
/// from, which ended with `newest`.
fn is_up_to(tip: Key, newest: Key) -> bool {
    tip == newest || (tip.generation() == newest.generation() && tip.start() < newest.start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Content, Digest, Seal, WalPos};

    fn seal(generation: u64, end: &str, digest: u128) -> Seal {
        Seal {
            generation: Generation::from_bits(generation),
            start: WalPos::default(),
            end: end.parse().unwrap(),
            digest: Digest(digest),
            ..Seal::example()
        }
    }

    fn tip(seal: Seal) -> Tip {
        Tip { key: Key::Segment { generation: seal.generation, pos: seal.start }, seal: Some(seal) }
    }

    fn ours(generation: u64, sent: Option<&Seal>) -> Evidence {
        let lineage = vec![Generation::from_bits(generation)];
        Evidence { lineage, sent: sent.map(Sent::of), ..Evidence::default() }
    }

    #[test]
    fn a_database_that_nothing_is_known_of_descends_from_nothing() {
        assert!(!descends(&tip(seal(1, "00000000_00001038", 1)), &Evidence::default()));
    }

    #[test]
    fn what_was_sent_or_less_is_ours() {
        let [first, second] = [("00000000_00001038", 1), ("00000000_00002070", 2)]
            .map(|(end, digest)| seal(1, end, digest));
        assert!(descends(&tip(first), &ours(1, Some(&first))));
        assert!(descends(&tip(first), &ours(1, Some(&second))), "something was lost there");
        assert!(!descends(&tip(second), &ours(1, Some(&first))), "an older volume was put back");
        let other = seal(1, "00000000_00002070", 3);
        assert!(!descends(&tip(other), &ours(1, Some(&second))), "somebody else went on");
        assert!(!descends(&tip(second), &ours(2, Some(&second))), "the file is another one");
        let earlier = seal(5, "00000000_00001038", 9);
        assert!(!descends(&tip(second), &ours(1, Some(&earlier))), "not by us");
        assert!(!descends(&tip(second), &ours(1, None)));
        let begun = Seal { content: Content::Snapshot { predecessor: None }, ..second };
        assert!(descends(&tip(begun), &ours(1, Some(&earlier))), "a crash came before the note");
        let damaged = Tip { seal: None, ..tip(first) };
        assert!(descends(&damaged, &ours(1, Some(&first))));
        assert!(!descends(&damaged, &ours(1, None)));
        let at_the_end = Seal { end: WalPos::default(), ..begun };
        let damaged = Tip { key: at_the_end.key(), seal: None };
        assert!(descends(&damaged, &ours(1, Some(&at_the_end))));
        let next = Tip { key: Seal { content: second.content, ..at_the_end }.key(), seal: None };
        assert!(!descends(&next, &ours(1, Some(&at_the_end))), "somebody may have gone on");
    }

    #[test]
    fn a_restore_leads_to_what_was_there_then() {
        let found = tip(seal(1, "00000000_00001038", 1));
        let restored = |key| Evidence { restored_from: Some(key), ..Evidence::default() };
        assert!(descends(&found, &restored(found.key)));
        let Key::Segment { generation, .. } = found.key else { unreachable!() };
        let later = Key::Segment { generation, pos: "00000001_00000000".parse().unwrap() };
        assert!(descends(&found, &restored(later)), "another replica was further");
        let other = Key::Segment { generation: Generation::from_bits(9), pos: WalPos::default() };
        assert!(!descends(&found, &restored(other)));
        assert!(!descends(&Tip { key: later, ..found }, &restored(found.key)), "it went on since");
    }

    #[test]
    fn litestream_says_what_it_wrote() {
        let found = tip(seal(1, "00000000_00001038", 1));
        let evidence = Evidence { litestream: Some(found.key.generation()), ..Evidence::default() };
        assert!(descends(&Tip { seal: None, ..found }, &evidence));
        assert!(!descends(&found, &evidence), "that is not Litestream's");
        let ours = ours(1, None);
        assert!(!descends(&Tip { seal: None, ..found }, &ours), "nor is this ours");
    }

    #[test]
    fn a_log_that_holds_the_end_is_proof() {
        let evidence = Evidence { in_log: true, ..Evidence::default() };
        assert!(descends(&tip(seal(1, "00000000_00001038", 1)), &evidence));
    }
}
