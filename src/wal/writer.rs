use std::io::{self, Write};

use super::{Checksum, FrameHeader, WalHeader};

/// Writes a WAL of our own making, as SQLite would have written it.
#[derive(Debug)]
pub struct FrameWriter<W> {
    target: W,
    header: WalHeader,
    checksum: Checksum,
}

impl<W: Write> FrameWriter<W> {
    /// Begins a WAL by writing `header`.
    pub fn new(mut target: W, header: &WalHeader) -> io::Result<Self> {
        target.write_all(&header.to_bytes())?;
        Ok(Self { target, header: *header, checksum: header.checksum })
    }

    /// Continues after the frame whose checksum is `checksum`.
    pub fn resume(target: W, header: &WalHeader, checksum: Checksum) -> Self {
        Self { target, header: *header, checksum }
    }

    /// Appends a frame. `commit` is the size of the database in pages, if it ends a transaction.
    pub fn write_frame(
        &mut self,
        page: u32,
        commit: Option<u32>,
        content: &[u8],
    ) -> io::Result<()> {
        assert_eq!(content.len(), self.header.page_size.bytes());
        let salt = self.header.salt;
        let mut frame = FrameHeader { page, commit, salt, checksum: self.checksum };
        self.checksum = frame.expected(self.checksum, self.header.order, content);
        frame.checksum = self.checksum;
        self.target.write_all(&frame.to_bytes())?;
        self.target.write_all(content)
    }

    /// The checksum of the last frame that was written.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    pub fn into_inner(self) -> W {
        self.target
    }
}
