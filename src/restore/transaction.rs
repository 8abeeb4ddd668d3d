use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::image::{DirtyPages, Image};
use crate::wal::PageSize;

/// The most bytes of a transaction that are kept in memory.
const MEMORY_BYTES_MAX: usize = 4 << 20;
/// How many bytes are read back at once.
const READ_BYTES: usize = 1 << 20;

/// The frames since the last commit, which count only once another commit comes.
///
/// A large transaction goes to a file without a name: the segment with its commit may be the next
/// one, or may not exist.
#[derive(Debug)]
pub(super) struct Transaction {
    page_size: PageSize,
    pages: Vec<u32>,
    /// The contents of the last pages.
    memory: Vec<u8>,
    /// How many bytes of the pages before those are in `spill`.
    spilled: u64,
    spill: File,
}

impl Transaction {
    /// `spill` is an empty file for what does not fit into memory.
    pub(super) fn new(page_size: PageSize, spill: File) -> Self {
        Self { page_size, pages: Vec::new(), memory: Vec::new(), spilled: 0, spill }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    pub(super) fn push(&mut self, page: u32, content: &[u8]) -> io::Result<()> {
        if self.memory.len() + content.len() > MEMORY_BYTES_MAX {
            self.spill.write_all_at(&self.memory, self.spilled)?;
            self.spilled += self.memory.len() as u64;
            self.memory.clear();
        }
        self.pages.push(page);
        self.memory.extend_from_slice(content);
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        dirty: &mut DirtyPages,
        image: &mut impl Image,
    ) -> io::Result<()> {
        let size = self.page_size.bytes();
        let mut pages = std::mem::take(&mut self.pages).into_iter();
        let mut offset = 0;
        let mut buffer = Vec::new();
        while offset < self.spilled {
            let rest = usize::try_from(self.spilled - offset).unwrap_or(usize::MAX);
            buffer.resize(rest.min(READ_BYTES), 0);
            self.spill.read_exact_at(&mut buffer, offset)?;
            for (content, page) in buffer.chunks(size).zip(&mut pages) {
                dirty.put(page, content, image)?;
            }
            offset += buffer.len() as u64;
        }
        for (content, page) in self.memory.chunks(size).zip(&mut pages) {
            dirty.put(page, content, image)?;
        }
        self.forget()
    }

    /// Discards the transaction.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.pages.clear();
        self.memory.clear();
        if std::mem::take(&mut self.spilled) > 0 {
            self.spill.set_len(0)?;
        }
        Ok(())
    }
}
