use std::fmt;

use super::{ByteOrder, Checksum};

const MAGIC_LITTLE: u32 = 0x377f_0682;
const MAGIC_BIG: u32 = 0x377f_0683;
const VERSION: u32 = 3_007_000;

/// Bytes in a page of a database: a power of two from 512 to 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// The smallest one, and so the size of the smallest database that is not empty.
    pub const MIN: u32 = 512;

    pub fn new(bytes: u32) -> Option<Self> {
        (bytes.is_power_of_two() && (Self::MIN..=65536).contains(&bytes)).then_some(Self(bytes))
    }

    pub fn get(self) -> u32 {
        self.0
    }

    /// The page size as the length of a buffer.
    pub fn bytes(self) -> usize {
        self.0 as usize
    }

    /// Bytes of a frame: its header and its page.
    pub fn frame_bytes(self) -> u64 {
        u64::from(self.0) + FRAME_HEADER_BYTES
    }

    /// Bytes of a WAL of `frames` frames, its header included.
    pub fn wal_bytes(self, frames: u64) -> u64 {
        WalHeader::SIZE as u64 + frames * self.frame_bytes()
    }
}

const FRAME_HEADER_BYTES: u64 = super::FrameHeader::SIZE as u64;

/// What distinguishes the frames of one log from those left over from an earlier log in the same
/// file.
///
/// With each restart of the log the first half goes up by at least one, and the second half is
/// drawn anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub [u8; 8]);

impl Salt {
    /// The first half, which counts restarts.
    fn count(self) -> u32 {
        let (words, _) = self.0.as_chunks::<4>();
        u32::from_be_bytes(words[0])
    }

    /// How many restarts lie between `self` and `later`, if they belong to one log.
    ///
    /// Usually one. SQLite counts once more for every `TRUNCATE` checkpoint of a log that is
    /// already empty (`walRestartHdr` in wal.c), so a larger number alone proves no loss.
    pub fn restarts_until(self, later: Self) -> u32 {
        later.count().wrapping_sub(self.count())
    }

    /// The salt of a log that we make up to follow this one. `random` is its second half.
    #[must_use]
    pub fn next(self, random: u32) -> Self {
        let first = self.count().wrapping_add(1);
        Self((u64::from(first) << 32 | u64::from(random)).to_be_bytes())
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The first 32 bytes of a WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalHeader {
    pub order: ByteOrder,
    pub page_size: PageSize,
    /// How often the connection that wrote the header has restarted the log. 0: never, and then
    /// the whole salt is random.
    pub sequence: u32,
    pub salt: Salt,
    /// The checksum of the header itself: those of the frames continue from it.
    pub checksum: Checksum,
}

/// Why 32 bytes are not the header of a WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHeader {
    Magic(u32),
    Version(u32),
    PageSize(u32),
    Checksum,
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(found) => write!(f, "WAL header with the magic number {found:#010x}"),
            Self::Version(found) => write!(f, "WAL header of the format {found}"),
            Self::PageSize(found) => write!(f, "WAL header with a page size of {found}"),
            Self::Checksum => write!(f, "WAL header with a wrong checksum"),
        }
    }
}

impl std::error::Error for InvalidHeader {}

impl WalHeader {
    pub const SIZE: usize = 32;

    /// The header of a log of our own making, in little-endian order.
    pub fn new(page_size: PageSize, salt: Salt) -> Self {
        let (order, checksum) = (ByteOrder::Little, Checksum::default());
        Self { order, page_size, sequence: 0, salt, checksum }.in_order(order)
    }

    /// The header of the same log, with checksums in another byte order. SQLite reads either.
    #[must_use]
    pub fn in_order(self, order: ByteOrder) -> Self {
        let header = Self { order, ..self };
        let checksum = Checksum::default().update(order, &header.to_bytes()[..24]);
        Self { checksum, ..header }
    }

    pub fn parse(bytes: &[u8; Self::SIZE]) -> Result<Self, InvalidHeader> {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| u32::from_be_bytes(words[at]);
        let order = match word(0) {
            MAGIC_LITTLE => ByteOrder::Little,
            MAGIC_BIG => ByteOrder::Big,
            other => return Err(InvalidHeader::Magic(other)),
        };
        let (halves, _) = bytes.as_chunks::<8>();
        let checksum = Checksum::from_bytes(halves[3]);
        if Checksum::default().update(order, &bytes[..24]) != checksum {
            return Err(InvalidHeader::Checksum);
        }
        if word(1) != VERSION {
            return Err(InvalidHeader::Version(word(1)));
        }
        let page_size = PageSize::new(word(2)).ok_or(InvalidHeader::PageSize(word(2)))?;
        Ok(Self { order, page_size, sequence: word(3), salt: Salt(halves[2]), checksum })
    }

    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let magic = match self.order {
            ByteOrder::Little => MAGIC_LITTLE,
            ByteOrder::Big => MAGIC_BIG,
        };
        let mut bytes = [0; Self::SIZE];
        for (at, word) in [magic, VERSION, self.page_size.get(), self.sequence].iter().enumerate() {
            bytes[4 * at..4 * at + 4].copy_from_slice(&word.to_be_bytes());
        }
        bytes[16..24].copy_from_slice(&self.salt.0);
        bytes[24..].copy_from_slice(&self.checksum.to_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> WalHeader {
        WalHeader::new(PageSize::new(4096).unwrap(), Salt(*b"saltsalt"))
    }

    #[test]
    fn prints_and_parses_its_bytes() {
        assert_eq!(WalHeader::parse(&header().to_bytes()), Ok(header()));
    }

    #[test]
    fn is_the_same_log_in_either_order() {
        let big = header().in_order(ByteOrder::Big);
        assert_eq!(WalHeader::parse(&big.to_bytes()), Ok(big));
        assert_ne!(big.checksum, header().checksum);
        assert_eq!(big.in_order(ByteOrder::Little), header());
    }

    #[test]
    fn refuses_each_flipped_bit() {
        let good = header().to_bytes();
        for bit in 0..8 * WalHeader::SIZE {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(WalHeader::parse(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn takes_the_page_sizes_of_sqlite_only() {
        for bytes in [512, 4096, 65536] {
            assert!(PageSize::new(bytes).is_some());
        }
        for bytes in [0, 1, 256, 1000, 131_072] {
            assert!(PageSize::new(bytes).is_none());
        }
    }

    #[test]
    fn counts_restarts_over_the_end_of_the_numbers() {
        let old = Salt([0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        assert_eq!(old.restarts_until(old.next(9)), 1);
        assert_eq!(old.next(9).0[4..], [0, 0, 0, 9]);
    }
}
