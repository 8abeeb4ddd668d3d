use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, anyhow, bail};

use crate::format::{Content, Kind, PageDigest, Seal, WalPos, lz4};
use crate::restore::{Unlinked, check};
use crate::wal::{Checksum, FrameReader, Salt, WalHeader};

/// What a segment changes in a database.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) seal: Seal,
    /// The header of the log that the segment is a part of.
    pub(super) log: WalHeader,
    /// The digest of each page in the segment, in its last version.
    pub(super) pages: BTreeMap<u32, PageDigest>,
}

/// Reads the segment that begins at `pos` and follows the object with the seal `before`, and makes
/// all the checks of a restore. `log` is the log that it is a part of, unless it begins one.
///
/// The caller must check the digest of the database, with [`Change::pages`].
pub(super) fn read(
    pos: WalPos,
    before: &Seal,
    log: Option<&WalHeader>,
    object: impl Read,
) -> anyhow::Result<Change> {
    let mut object = lz4::Decoder::new(object);
    let (log, checksum, mut end) = match (log, before.content) {
        (Some(log), Content::Segment { checksum }) if pos.offset > 0 => {
            (*log, Checksum::from_bytes(checksum), pos.offset)
        }
        _ => {
            let mut header = [0; WalHeader::SIZE];
            object.read_exact(&mut header).context("it has no header of a WAL")?;
            let log = WalHeader::parse(&header)?;
            (log, log.checksum, WalHeader::SIZE as u64)
        }
    };
    let mut page = vec![0; log.page_size.bytes()];
    let (mut pages, mut commit) = (BTreeMap::new(), None);
    let mut frames = FrameReader::resume(&mut object, &log, checksum);
    while let Some(frame) = frames.next_frame(&mut page)? {
        pages.insert(frame.page, PageDigest::of(before.generation, frame.page, &page));
        end += log.page_size.frame_bytes();
        commit = frame.commit;
    }
    let checksum = frames.checksum();
    let Some(seal) = Seal::find(object.skipped()).map_err(|error| anyhow!("{error}"))? else {
        bail!("its frame at offset {end} is damaged, or it has no seal at its end");
    };
    if seal.previous != before.link() {
        return Err(Unlinked::new(&seal, Some(before)).into());
    }
    let Some(commit) = commit else { bail!("it ends within a transaction") };
    let sealed = || -> Result<(), String> {
        check("kind", seal.kind(), Kind::Segment)?;
        check("generation", seal.generation, before.generation)?;
        check("start", seal.start, pos)?;
        check("end", seal.end, WalPos { offset: end, ..pos })?;
        check("page size", seal.page_size, log.page_size.get())?;
        check("page size", before.page_size, seal.page_size)?;
        check("number of pages", seal.pages, commit)?;
        check("salt", Salt(seal.salt), log.salt)?;
        match seal.content {
            Content::Snapshot { .. } => Ok(()),
            Content::Segment { checksum: sealed } => {
                check("checksum", Checksum::from_bytes(sealed), checksum)
            }
        }
    };
    sealed().map_err(anyhow::Error::msg)?;
    Ok(Change { seal, log, pages })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Digest, Generation};
    use crate::wal::{FrameWriter, PageSize};

    const GENERATION: Generation = Generation::from_bits(7);

    fn begin() -> Seal {
        Seal {
            content: Content::Snapshot { predecessor: None },
            generation: GENERATION,
            start: WalPos::default(),
            end: WalPos::default(),
            page_size: 512,
            ..Seal::example()
        }
    }

    fn object(data: &[u8], seal: &Seal) -> Vec<u8> {
        let mut encoder = lz4::Encoder::new(Vec::new(), data.len() as u64);
        std::io::Write::write_all(&mut encoder, data).unwrap();
        let mut object = encoder.finish().unwrap();
        seal.write(&mut object).unwrap();
        object
    }

    /// A log of two transactions, in two segments, the second of which writes page 2 twice.
    fn segments() -> [(Seal, Vec<u8>); 2] {
        let header = WalHeader::new(PageSize::new(512).unwrap(), Salt(*b"saltsalt"));
        let mut log = Vec::new();
        let mut frames = FrameWriter::new(&mut log, &header).unwrap();
        frames.write_frame(2, Some(2), &[2; 512]).unwrap();
        let first = frames.checksum();
        frames.write_frame(2, Some(2), &[3; 512]).unwrap();
        frames.write_frame(2, Some(2), &[4; 512]).unwrap();
        let last = frames.checksum();
        let cut = 32 + 536;
        let seal = |start, end, checksum: Checksum, previous| Seal {
            content: Content::Segment { checksum: checksum.to_bytes() },
            start: WalPos { offset: start, ..WalPos::default() },
            end: WalPos { offset: end, ..WalPos::default() },
            pages: 2,
            salt: header.salt.0,
            previous,
            ..begin()
        };
        let one = seal(0, cut as u64, first, begin().previous);
        let two = seal(cut as u64, log.len() as u64, last, one.link());
        [(one, object(&log[..cut], &one)), (two, object(&log[cut..], &two))]
    }

    #[test]
    fn gives_the_last_version_of_each_page() {
        let [(first, one), (second, two)] = segments();
        let change = read(first.start, &begin(), None, one.as_slice()).unwrap();
        assert_eq!(change.seal, first);
        let change = read(second.start, &first, Some(&change.log), two.as_slice()).unwrap();
        assert_eq!(change.seal, second);
        let expected = [(2, PageDigest::of(GENERATION, 2, &[4; 512]))];
        assert_eq!(change.pages, BTreeMap::from(expected));
    }

    #[test]
    fn refuses_each_damage_that_a_restore_refuses() {
        let [(first, one), (second, two)] = segments();
        let log = read(first.start, &begin(), None, one.as_slice()).unwrap().log;
        let read_two = |before: &Seal, object: &[u8]| {
            read(second.start, before, Some(&log), object).unwrap_err().to_string()
        };
        let reason = read_two(&Seal { digest: Digest(9), ..first }, &two);
        assert!(reason.contains("does not continue"), "{reason}");
        let reason = read_two(&first, &one);
        assert!(reason.contains("damaged"), "{reason}");
        read_two(&first, &two[..two.len() - 200]);
        for at in 0..one.len() {
            let mut bad = one.clone();
            bad[at] ^= 0x80;
            assert!(read(first.start, &begin(), None, bad.as_slice()).is_err(), "byte {at}");
        }
    }
}
