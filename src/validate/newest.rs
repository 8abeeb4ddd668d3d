//! Checks that the newest object of a replica is still the same. All others are named by the
//! objects after them; if this one is missing, or replaced by an older one, what is left seems
//! intact.

use super::defect::Defect;
use crate::format::{Generation, History, Key, Proof, Seal, WalPos};
use crate::restore::Restored;
use crate::utc;
use crate::verify::hidden;

/// Fails if a replica does not reach as far as it once did: to what the store has `acknowledged`
/// to this daemon, to what any daemon has `recorded`, and to the newest object that this daemon
/// has `proven`.
pub(super) fn expect_all(
    restored: &Restored,
    acknowledged: Option<(Generation, WalPos)>,
    recorded: Option<Proof>,
    proven: Option<&Seal>,
) -> anyhow::Result<()> {
    let Restored { generation, position, .. } = *restored;
    // Another generation may be shorter.
    let is_beyond = |of: Generation, end: WalPos| of == generation && position < end;
    let missing = Key::Segment { generation, pos: position };
    if let Some((_, end)) = acknowledged.filter(|(of, end)| is_beyond(*of, *end)) {
        let what = format!("the store had acknowledged everything up to {end}");
        return Err(Defect::error(format!("{missing}: it is missing: {what}")));
    }
    if let Some(proof) = recorded.filter(|proof| is_beyond(proof.generation, proof.position)) {
        let (end, proven) = (proof.position, utc::seconds(proof.proven));
        let what = format!("{end} was proven to be restorable at {proven}");
        return Err(Defect::error(format!("{missing}: it is missing: {what}")));
    }
    if let Some(seal) = proven.filter(|seal| is_beyond(seal.generation, seal.end)) {
        return Err(Defect::error(format!("{}: it is missing, and was proven before", seal.key())));
    }
    Ok(())
}

/// Fails if a restore takes another generation than the one to which the store has `acknowledged`
/// something last.
pub(super) fn expect_latest(
    histories: &[History],
    acknowledged: Option<(Generation, WalPos)>,
) -> anyhow::Result<()> {
    let defect = acknowledged.and_then(|(generation, _)| hidden(histories, generation));
    defect.map_or(Ok(()), |defect| Err(Defect::error(defect)))
}

/// Fails if the newest object differs from the `proven` one of the same name.
pub(super) fn expect_same(found: &Seal, proven: Option<&Seal>) -> anyhow::Result<()> {
    match proven.filter(|seal| seal.key() == found.key() && *seal != found) {
        Some(seal) => {
            let what = "another object has taken its place since it was proven";
            Err(Defect::error(format!("{}: {what}", seal.key())))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::format::{Content, Digest};
    use crate::restore::Verdict;

    fn restored(position: &str) -> Restored {
        Restored {
            replica: String::new(),
            generation: Seal::example().generation,
            position: position.parse().unwrap(),
            bytes: 0,
            created: SystemTime::UNIX_EPOCH,
            verdict: Verdict::Unsealed,
        }
    }

    #[test]
    fn a_replica_that_leads_less_far_than_before_is_named() {
        let proven = Seal::example();
        let before = "00000001_00001038";
        let name = "generations/0000000000000007/wal/00000001_00001038.wal.lz4: it is missing";
        let known = |of: Seal| {
            let Seal { generation, end: position, .. } = of;
            let proof = Proof { generation, position, proven: SystemTime::UNIX_EPOCH };
            [
                (Some((generation, position)), None, None),
                (None, Some(proof), None),
                (None, None, Some(of)),
            ]
        };
        for (acknowledged, recorded, proven) in known(proven) {
            let expect =
                |position| expect_all(&restored(position), acknowledged, recorded, proven.as_ref());
            let error = expect(before).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
            for position in ["00000001_00002070", "00000002_00000000"] {
                expect(position).unwrap();
            }
        }
        for (acknowledged, recorded, proven) in
            known(Seal { generation: Generation::from_bits(8), ..proven })
        {
            expect_all(&restored(before), acknowledged, recorded, proven.as_ref()).unwrap();
        }
    }

    #[test]
    fn another_object_of_the_same_name_is_named() {
        let proven = Seal::example();
        let content = Content::Segment { checksum: *b"another " };
        let other = Seal { content, digest: Digest(9), ..proven };
        let error = expect_same(&other, Some(&proven)).unwrap_err().to_string();
        assert!(error.contains("00000001_00001038.wal.lz4: another object"), "{error}");
        expect_same(&proven, Some(&proven)).unwrap();
        expect_same(&proven, None).unwrap();
        // A snapshot may have been proven before the segment that leads to the same state.
        let snapshot = Seal { content: Content::Snapshot { predecessor: None }, ..proven };
        expect_same(&proven, Some(&snapshot)).unwrap();
        let behind = Seal { start: proven.end, ..other };
        expect_same(&behind, Some(&proven)).unwrap();
    }
}
