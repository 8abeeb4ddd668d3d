use crate::format::Generation;
use crate::replicate::tip::Tip;

/// Which snapshot a replica asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// A first snapshot, of whatever generation. The newest object in the replica when it asked.
    First(Option<Tip>),
    /// Another snapshot of a generation that the replica holds.
    Another(Generation),
}

/// Whether a snapshot was granted for something other than what the replica has found since: the
/// tail had not received that report yet. What was found may be just what the snapshot must not
/// hide.
pub(super) fn is_outdated(asked: Option<Asked>, granted_for: Option<Tip>) -> bool {
    !matches!(asked, Some(Asked::First(found)) if found == granted_for)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Key, WalIndex};

    #[test]
    fn what_was_granted_without_a_look_is_not_stored_over_what_was_found() {
        let generation = Generation::from_bits(7);
        let key = Key::Snapshot { generation, index: WalIndex::default() };
        let found = Some(Tip { key, seal: None });
        for (asked, granted_for, expected) in [
            (Some(Asked::First(found)), found, false),
            (Some(Asked::First(found)), None, true),
            (Some(Asked::First(None)), None, false),
            (Some(Asked::First(None)), found, true),
            // The replica did not ask for a first one.
            (None, None, true),
            (Some(Asked::Another(generation)), None, true),
        ] {
            assert_eq!(is_outdated(asked, granted_for), expected, "{asked:?} {granted_for:?}");
        }
    }
}
