use std::fmt;

/// How the checksums of a WAL read its bytes as words. SQLite uses the byte order of the machine
/// that made the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    Little,
    Big,
}

/// The cumulative checksum of a WAL at one of its frames.
///
/// Two logs with the same salt and the same checksum at a position are the same up to there, so
/// this stands for all the bytes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    pub first: u32,
    pub second: u32,
}

impl Checksum {
    /// The checksum after `bytes`, whose length is a multiple of eight.
    #[must_use]
    pub fn update(self, order: ByteOrder, bytes: &[u8]) -> Self {
        debug_assert!(bytes.len().is_multiple_of(8));
        match order {
            ByteOrder::Little => self.fold(bytes, u32::from_le_bytes),
            ByteOrder::Big => self.fold(bytes, u32::from_be_bytes),
        }
    }

    fn fold(self, bytes: &[u8], word: impl Fn([u8; 4]) -> u32) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let (pairs, _) = words.as_chunks::<2>();
        let (mut first, mut second) = (self.first, self.second);
        for &[left, right] in pairs {
            first = first.wrapping_add(word(left)).wrapping_add(second);
            second = second.wrapping_add(word(right)).wrapping_add(first);
        }
        Self { first, second }
    }

    /// The bytes of the checksum as they stand in headers.
    pub fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.first) << 32 | u64::from(self.second)).to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        Self { first: u32::from_be_bytes(words[0]), second: u32::from_be_bytes(words[1]) }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:08x}", self.first, self.second)
    }
}
