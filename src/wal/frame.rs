use super::{ByteOrder, Checksum, Salt};

/// The 24 bytes before each page of a WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The page number, counted from 1.
    pub page: u32,
    /// The size of the database in pages, if this frame commits a transaction.
    pub commit: Option<u32>,
    pub salt: Salt,
    pub checksum: Checksum,
}

impl FrameHeader {
    pub const SIZE: usize = 24;

    pub fn parse(bytes: &[u8; Self::SIZE]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let (halves, _) = bytes.as_chunks::<8>();
        let size = u32::from_be_bytes(words[1]);
        Self {
            page: u32::from_be_bytes(words[0]),
            commit: (size != 0).then_some(size),
            salt: Salt(halves[1]),
            checksum: Checksum::from_bytes(halves[2]),
        }
    }

    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.page.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.commit.unwrap_or(0).to_be_bytes());
        bytes[8..16].copy_from_slice(&self.salt.0);
        bytes[16..].copy_from_slice(&self.checksum.to_bytes());
        bytes
    }

    /// Whether SQLite has left this frame without salt and checksum, which it fills in at commit.
    /// Up to some version after 3.40.1 it failed to, if the transaction had been spilled to the
    /// log and rolled back to a savepoint (`iReCksum` in wal.c).
    pub fn has_no_checksum(&self) -> bool {
        self.page != 0 && self.salt == Salt([0; 8]) && self.checksum == Checksum::default()
    }

    /// The checksum that a frame with this header and `page` must carry after `previous`.
    pub(super) fn expected(&self, previous: Checksum, order: ByteOrder, page: &[u8]) -> Checksum {
        previous.update(order, &self.to_bytes()[..8]).update(order, page)
    }
}
