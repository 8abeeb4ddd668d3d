use std::fmt;
use std::str::FromStr;

use super::ParseError;
use super::parse_error::parse_hex;

/// The number of a WAL in its generation: 0 for the first, and one more each time that SQLite
/// restarts its log.
///
/// At most `7fffffff`, the largest that Litestream 0.3 takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalIndex(u32);

impl WalIndex {
    pub const MAX: Self = Self(0x7fff_ffff);

    /// The index `number`, or `None` if it is beyond [`WalIndex::MAX`].
    pub fn new(number: u32) -> Option<Self> {
        (number <= Self::MAX.0).then_some(Self(number))
    }

    pub fn get(self) -> u32 {
        self.0
    }

    /// The index after this one. `None` when the numbers are used up: then a new generation
    /// begins.
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    /// The index before this one, unless this is the first.
    pub fn before(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl fmt::Display for WalIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for WalIndex {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_hex(text, 8)
            .and_then(|number| Self::new(u32::try_from(number).ok()?))
            .ok_or_else(|| ParseError::new("a WAL index (8 lower-case hex digits)", text))
    }
}

/// A byte position within a generation.
///
/// Ordered as the bytes were written. Positions of different generations cannot be compared,
/// which is why the generation is not part of it. Printed as in object names: `index_offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalPos {
    pub index: WalIndex,
    /// Bytes from the start of the WAL file, its 32-byte header included.
    pub offset: u64,
}

impl WalPos {
    /// The start of the WAL `index`, its header included.
    pub fn start_of(index: WalIndex) -> Self {
        Self { index, offset: 0 }
    }
}

impl fmt::Display for WalPos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{:08x}", self.index, self.offset)
    }
}

impl FromStr for WalPos {
    type Err = ParseError;

    /// Parses offsets of more than eight digits, too. Litestream 0.3 writes them for offsets
    /// beyond 4 GiB, and then no longer sees the object.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a WAL position (index_offset)", text);
        let (index, offset) = text.split_once('_').ok_or_else(error)?;
        let digits = offset.len();
        if !(8..=16).contains(&digits) || (digits > 8 && offset.starts_with('0')) {
            return Err(error());
        }
        let index = index.parse().map_err(|_| error())?;
        Ok(Self { index, offset: parse_hex(offset, digits).ok_or_else(error)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_as_in_object_names() {
        for text in
            ["00000000_00000000", "7fffffff_ffffffff", "00000001_00001038", "00000002_123456789"]
        {
            assert_eq!(text.parse::<WalPos>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_near_misses() {
        for text in [
            "80000000_00000000",
            "00000000",
            "00000000_0000000",
            "00000000_000000001",
            "0000000A_00000000",
        ] {
            assert!(text.parse::<WalPos>().is_err(), "{text}");
        }
    }

    #[test]
    fn runs_out_of_indexes_instead_of_wrapping() {
        assert_eq!(WalIndex::new(7).unwrap().next(), WalIndex::new(8));
        assert_eq!(WalIndex::MAX.next(), None);
    }
}
