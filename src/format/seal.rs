use std::fmt;
use std::io::{self, Write};
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use twox_hash::XxHash3_128;

use super::{Digest, Generation, Key, WalIndex, WalPos, lz4};

const MAGIC: &[u8; 6] = b"LSSEAL";
const VERSION: u8 = 1;
/// The header of the skippable frame.
const HEADER: [u8; 8] = lz4::skippable_header(136);
/// Bytes of content in the skippable frame.
const CONTENT: usize = 136;

/// What kind of object a seal is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Snapshot,
    Segment,
}

/// What only the seal of an object of one kind says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Snapshot {
        /// The previous snapshot of the replica, which also had all segments from there to here.
        ///
        /// `None` where a replica begins a generation, or begins anew after a hole: what it holds
        /// of the generation from before the hole does not lead to this snapshot.
        predecessor: Option<WalIndex>,
    },
    Segment {
        /// The checksum of the WAL at the end of the segment.
        checksum: [u8; 8],
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshot => "snapshot",
            Self::Segment => "segment",
        })
    }
}

/// The digest of a seal, and through [`Seal::previous`] of all seals before it in a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link(pub u128);

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Link {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// What an object says about itself, so that a reader can prove that nothing is missing, swapped,
/// old or altered.
///
/// The last 144 bytes of an object: a skippable LZ4 frame, which Litestream ignores. Litestream's
/// own objects have none.
///
/// ```text
///   0  50 2a 4d 18   88 00 00 00          header of the skippable frame: 136 bytes follow
///   8  "LSSEAL"      version  content
///  16  generation                         all numbers are little-endian
///  24  index of start   offset of start
///  36  index of end     offset of end
///  48  page size        pages
///  56  committed                          milliseconds since 1970
///  64  salt             checksum          of the WAL at the end, as in its frames; in the seal of
///                                         a snapshot, predecessor + 1 or 0 instead of a checksum
///  80  log offset       log checksum      of the log that it was made of
///  96  digest
/// 112  previous
/// 128  link                               of bytes 8 to 128
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    pub content: Content,
    pub generation: Generation,
    /// The position in the object's name; a snapshot is named by the start of a WAL.
    pub start: WalPos,
    /// Everything before this position is in this object or in earlier ones: the next segment
    /// begins here. A snapshot of the very beginning of a WAL has `end == start`.
    pub end: WalPos,
    /// Bytes.
    pub page_size: u32,
    /// The size of the database after this object.
    pub pages: u32,
    /// When the last transaction in this object was first seen committed, by the primary's clock.
    pub committed: SystemTime,
    /// The salt of the WAL at `end`.
    pub salt: [u8; 8],
    /// Where `end` is in the log of the database: a longer WAL with the same salt.
    pub log: LogPlace,
    /// The digest of the whole database after this object.
    pub digest: Digest,
    /// The link of the segment before `start`. Zero at the beginning of a generation.
    pub previous: Link,
}

/// A frame of SQLite's log. A log that contains it went through the state that the seal describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPlace {
    /// Bytes from the start of the log to the end of the frame.
    pub offset: u64,
    /// The checksum in the frame.
    pub checksum: [u8; 8],
}

impl Seal {
    /// Bytes of a seal, the header of its skippable frame included.
    pub const SIZE: usize = CONTENT + 8;

    /// What the next segment names as its `previous`.
    ///
    /// A snapshot is not part of the chain: the segment after it names the segment before it.
    pub fn link(&self) -> Link {
        match self.content {
            Content::Snapshot { .. } => self.previous,
            Content::Segment { .. } => Link(XxHash3_128::oneshot(&self.unsigned())),
        }
    }

    /// The name of the object that this seal was made for.
    pub fn key(&self) -> Key {
        let Self { generation, start, .. } = *self;
        match self.kind() {
            Kind::Snapshot => Key::Snapshot { generation, index: start.index },
            Kind::Segment => Key::Segment { generation, pos: start },
        }
    }

    pub fn kind(&self) -> Kind {
        match self.content {
            Content::Snapshot { .. } => Kind::Snapshot,
            Content::Segment { .. } => Kind::Segment,
        }
    }

    /// See [`Content::Snapshot`]. A segment has none.
    pub fn predecessor(&self) -> Option<WalIndex> {
        match self.content {
            Content::Snapshot { predecessor } => predecessor,
            Content::Segment { .. } => None,
        }
    }

    /// Whether this seal was made for the object `key`.
    pub fn is_of(&self, key: Key) -> bool {
        let kind = match key {
            Key::Snapshot { .. } => Kind::Snapshot,
            Key::Segment { .. } => Kind::Segment,
        };
        (self.kind(), self.generation, self.start) == (kind, key.generation(), key.start())
    }

    /// Writes the seal, to be the end of its object.
    pub fn write(&self, target: &mut impl Write) -> io::Result<()> {
        let mut bytes = self.unsigned();
        let signature = XxHash3_128::oneshot(&bytes);
        bytes.extend(signature.to_le_bytes());
        lz4::write_skippable(target, &bytes)
    }

    fn unsigned(&self) -> Vec<u8> {
        let kind = match self.kind() {
            Kind::Snapshot => 0,
            Kind::Segment => 1,
        };
        let since = self.committed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let committed = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut bytes = Vec::with_capacity(Self::SIZE);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, kind]);
        bytes.extend(self.generation.bits().to_le_bytes());
        for pos in [self.start, self.end] {
            bytes.extend(pos.index.get().to_le_bytes());
            bytes.extend(pos.offset.to_le_bytes());
        }
        bytes.extend(self.page_size.to_le_bytes());
        bytes.extend(self.pages.to_le_bytes());
        bytes.extend(committed.to_le_bytes());
        bytes.extend(self.salt);
        match self.content {
            Content::Snapshot { predecessor } => {
                let number = predecessor.map_or(0, |index| index.get() + 1);
                bytes.extend(u64::from(number).to_le_bytes());
            }
            Content::Segment { checksum } => bytes.extend(checksum),
        }
        bytes.extend(self.log.offset.to_le_bytes());
        bytes.extend(self.log.checksum);
        bytes.extend(self.digest.0.to_le_bytes());
        bytes.extend(self.previous.0.to_le_bytes());
        bytes
    }

    /// Finds the seal among the contents of the skippable frames of an object.
    ///
    /// `Ok(None)` if none of them is a seal; an error if one is a seal that is altered, or of a
    /// later version of this program.
    pub fn find(skipped: &[Vec<u8>]) -> Result<Option<Self>, &'static str> {
        // Matched by length too: a flipped bit in the magic must not make the seal vanish.
        let ours = |content: &&Vec<u8>| content.starts_with(MAGIC) || content.len() == CONTENT;
        match skipped.iter().find(ours) {
            Some(content) => Self::parse(content).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the seal in the last [`Seal::SIZE`] bytes of an object, as [`Seal::find`] does. An
    /// object without a seal must end as an LZ4 frame does.
    pub fn at_end(tail: &[u8]) -> Result<Option<Self>, &'static str> {
        let start = tail.len().saturating_sub(Self::SIZE);
        match tail[start..].split_first_chunk::<8>() {
            Some((header, content)) if *header == HEADER => Self::parse(content).map(Some),
            _ if ends_frame(tail) => Ok(None),
            _ => Err("it is cut short"),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(bytes);
        let [magic @ .., version, kind] = fields.take::<8>()?;
        if magic != *MAGIC {
            return Err(ALTERED);
        }
        if version != VERSION {
            return Err("it was sealed by a later version of this program: restore it with that");
        }
        // In the order of the fields.
        let seal = Self {
            generation: Generation::from_bits(fields.u64()?),
            start: fields.pos()?,
            end: fields.pos()?,
            page_size: fields.u32()?,
            pages: fields.u32()?,
            committed: SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_millis(fields.u64()?))
                .ok_or(ALTERED)?,
            salt: fields.take()?,
            content: match kind {
                0 => Content::Snapshot { predecessor: index_before(fields.take()?)? },
                1 => Content::Segment { checksum: fields.take()? },
                _ => return Err(ALTERED),
            },
            log: LogPlace { offset: fields.u64()?, checksum: fields.take()? },
            digest: Digest(u128::from_le_bytes(fields.take()?)),
            previous: Link(u128::from_le_bytes(fields.take()?)),
        };
        let signed = bytes.len() - fields.0.len();
        let signature = u128::from_le_bytes(fields.take()?);
        if signature != XxHash3_128::oneshot(&bytes[..signed]) || !fields.0.is_empty() {
            return Err(ALTERED);
        }
        Ok(seal)
    }
}

#[cfg(test)]
impl Seal {
    /// The seal of a segment in the middle of a log, with no field left at its default. A test
    /// overrides what matters to it.
    pub(crate) fn example() -> Self {
        Self {
            content: Content::Segment { checksum: *b"checksum" },
            generation: Generation::from_bits(7),
            start: "00000001_00001038".parse().unwrap(),
            end: "00000001_00002070".parse().unwrap(),
            page_size: 4096,
            pages: 7,
            committed: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            salt: *b"saltsalt",
            log: LogPlace { offset: 5_000_000_000, checksum: *b"in-a-log" },
            digest: Digest(5),
            previous: Link(6),
        }
    }
}

/// Whether an LZ4 frame may end here: with a mark of four zero bytes, and with four bytes of a
/// content checksum after that, which not every writer adds.
fn ends_frame(tail: &[u8]) -> bool {
    let has_mark = |bytes: &[u8]| bytes.ends_with(&[0; 4]);
    has_mark(tail) || tail.len().checked_sub(4).is_some_and(|at| has_mark(&tail[..at]))
}

/// The index that is one less than `number`, or `None` if that is zero.
fn index_before(number: [u8; 8]) -> Result<Option<WalIndex>, &'static str> {
    match u64::from_le_bytes(number).checked_sub(1) {
        Some(index) => {
            let index = u32::try_from(index).ok().and_then(WalIndex::new);
            index.map(Some).ok_or(ALTERED)
        }
        None => Ok(None),
    }
}

const ALTERED: &str = "its seal is altered";

/// Fixed-size fields, taken one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(ALTERED)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.take().map(u64::from_le_bytes)
    }

    fn pos(&mut self) -> Result<WalPos, &'static str> {
        let index = WalIndex::new(self.u32()?).ok_or(ALTERED)?;
        Ok(WalPos { index, offset: self.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_from_the_end_of_an_object() {
        let mut object = b"data".to_vec();
        Seal::example().write(&mut object).unwrap();
        assert_eq!(object.len(), 4 + Seal::SIZE);
        assert_eq!(Seal::at_end(&object), Ok(Some(Seal::example())));
        assert_eq!(Seal::at_end(&object[4..]), Ok(Some(Seal::example())));
        // As Litestream writes them, and as a writer without checksums.
        assert_eq!(Seal::at_end(b"data\0\0\0\0sum!"), Ok(None));
        assert_eq!(Seal::at_end(b"data\0\0\0\0"), Ok(None));
        for cut_short in [&b""[..], b"dat", b"data", b"data\0\0\0", b"data\0\0\0\0sum"] {
            assert_eq!(Seal::at_end(cut_short), Err("it is cut short"));
        }
    }

    #[test]
    fn refuses_each_flipped_bit() {
        let mut good = Vec::new();
        Seal::example().write(&mut good).unwrap();
        for bit in 8 * 8..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Seal::at_end(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn links_a_segment_to_all_before_it() {
        let other = Seal { previous: Link(7), ..Seal::example() };
        assert_ne!(Seal::example().link(), other.link());
        let snapshot = Seal { content: Content::Snapshot { predecessor: None }, ..Seal::example() };
        assert_eq!(snapshot.link(), snapshot.previous);
    }

    #[test]
    fn a_snapshot_names_the_one_before_it() {
        for predecessor in [None, Some(WalIndex::default()), Some(WalIndex::MAX)] {
            let content = Content::Snapshot { predecessor };
            let seal = Seal { content, ..Seal::example() };
            let mut object = Vec::new();
            seal.write(&mut object).unwrap();
            assert_eq!(Seal::at_end(&object), Ok(Some(seal)));
        }
    }
}
