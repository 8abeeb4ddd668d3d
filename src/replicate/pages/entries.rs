use std::collections::{BTreeMap, btree_map};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::failpoint::Failpoint;
use crate::sqlite::FileFrom;

/// Bytes of an entry.
pub(super) const ENTRY: u64 = 16;

/// An entry, as it is in the file.
pub(super) type Entry = [u8; 16];

/// Entries of a block, which is read and written as one: enough neighbours for an application that
/// appends to a table, and few enough for one that changes pages everywhere.
const BLOCK: u64 = 64;

/// Blocks in memory at a time: a mebibyte.
const BLOCKS_MAX: usize = 1024;

/// The entries of a page table in their file.
///
/// Changed entries stay in memory for a while: two system calls for each page of a small commit
/// would be as much work as everything else that it takes, except compression. Until
/// [`Entries::flush`], some or all of them are lost with the process.
#[derive(Debug)]
pub(super) struct Entries {
    file: File,
    blocks: BTreeMap<u64, Block>,
}

#[derive(Debug)]
struct Block {
    /// Fewer than [`BLOCK`] at the end of the file.
    entries: Vec<Entry>,
    changed: bool,
}

impl Entries {
    pub(super) fn new(file: File) -> Self {
        Self { file, blocks: BTreeMap::new() }
    }

    pub(super) fn get(&mut self, number: u32) -> io::Result<Entry> {
        let (block, at) = self.block(number)?;
        Ok(*block.entries.get(at).ok_or(io::ErrorKind::UnexpectedEof)?)
    }

    /// Changes an entry, or adds the one that comes after the last.
    pub(super) fn set(&mut self, number: u32, entry: Entry) -> io::Result<()> {
        let (block, at) = self.block(number)?;
        if at == block.entries.len() {
            block.entries.push(entry);
        } else {
            *block.entries.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)? = entry;
        }
        block.changed = true;
        Ok(())
    }

    /// Writes what was changed, and frees the memory. Blocks are written in order: if the process
    /// dies on the way, the file has grown without a hole.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        for (number, block) in &mut self.blocks {
            if block.changed {
                Failpoint::PagesWriting.pass()?;
                self.file.write_all_at(block.entries.as_flattened(), number * BLOCK * ENTRY)?;
                block.changed = false;
            }
        }
        self.blocks = BTreeMap::new();
        Ok(())
    }

    /// Cuts the file to `count` entries.
    pub(super) fn truncate(&mut self, count: u32) -> io::Result<()> {
        self.flush()?;
        self.file.set_len(u64::from(count) * ENTRY)
    }

    /// Makes durable what was flushed.
    pub(super) fn sync(&self) -> io::Result<()> {
        Failpoint::StateSyncing.pass()?;
        self.file.sync_all()
    }

    /// The block of an entry, and the place of the entry in it.
    fn block(&mut self, number: u32) -> io::Result<(&mut Block, usize)> {
        let (number, at) = (u64::from(number) / BLOCK, u64::from(number) % BLOCK);
        if self.blocks.len() == BLOCKS_MAX && !self.blocks.contains_key(&number) {
            self.flush()?;
        }
        let block = match self.blocks.entry(number) {
            btree_map::Entry::Occupied(found) => found.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let mut bytes = Vec::new();
                let file = FileFrom::new(&self.file, number * BLOCK * ENTRY);
                file.take(BLOCK * ENTRY).read_to_end(&mut bytes)?;
                let (entries, _) = bytes.as_chunks();
                place.insert(Block { entries: entries.to_vec(), changed: false })
            }
        };
        Ok((block, usize::try_from(at).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32) -> Entry {
        u128::from(number).to_le_bytes()
    }

    #[test]
    fn are_in_the_file_once_flushed_however_many_there_are() {
        let file = tempfile::tempfile().unwrap();
        let mut entries = Entries::new(file.try_clone().unwrap());
        let count = u32::try_from(BLOCK).unwrap() * u32::try_from(BLOCKS_MAX).unwrap() + 100;
        for number in 0..count {
            entries.set(number, entry(number)).unwrap();
        }
        assert!(entries.blocks.len() <= BLOCKS_MAX);
        entries.set(7, entry(8)).unwrap();
        assert_eq!(entries.get(7).unwrap(), entry(8));
        assert!(file.metadata().unwrap().len() < u64::from(count) * ENTRY);
        entries.flush().unwrap();
        assert!(entries.blocks.is_empty());

        let mut found = Entries::new(file);
        for number in 0..count {
            let expected = if number == 7 { 8 } else { number };
            assert_eq!(found.get(number).unwrap(), entry(expected));
        }
        assert_eq!(found.get(count).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(found.set(count + 1, entry(1)).is_err(), "a hole");
        found.truncate(3).unwrap();
        assert!(found.get(3).is_err());
        assert_eq!(found.get(2).unwrap(), entry(2));
    }
}
