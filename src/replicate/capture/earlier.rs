use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::format::{Generation, PageDigest};
use crate::sqlite::LogFile;
use crate::wal::{PageSize, WalHeader};

/// Of how many pages it is kept. All of a log is lost, or nothing.
const PAGES_MAX: usize = 256;

/// What some pages were before they were captured from a log that may be missing in the database
/// file, if they were there. Kept in memory: it is of use as long as we have that log open.
#[derive(Debug, Default)]
pub(super) struct EarlierPages {
    pages: BTreeMap<u32, Option<PageDigest>>,
    /// Each of them is just that in the file: all of the log since it was is known.
    is_whole: bool,
}

impl EarlierPages {
    /// Takes note of a page that is captured, and was that before.
    pub(super) fn note(&mut self, page: u32, before: Option<PageDigest>) {
        if self.pages.len() < PAGES_MAX {
            self.pages.entry(page).or_insert(before);
        }
    }

    /// Those that were there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, PageDigest)> {
        self.pages.iter().filter_map(|(&page, &before)| Some((page, before?)))
    }

    /// Whether each of them is in the file as it was then, or as the log has it at some commit.
    /// Otherwise the file is another one than the log was written for. Yes if that is not known.
    pub(super) fn are_in(
        &self,
        generation: Generation,
        page_size: PageSize,
        file: &File,
        log: &LogFile,
    ) -> io::Result<bool> {
        if !self.is_whole {
            return Ok(true);
        }
        let mut content = vec![0; page_size.bytes()];
        let mut others = BTreeMap::new();
        for (page, before) in self.iter() {
            let offset = u64::from(page - 1) * u64::from(page_size.get());
            match file.read_exact_at(&mut content, offset) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                read => read?,
            }
            let found = PageDigest::of(generation, page, &content);
            if found != before {
                others.insert(page, found);
            }
        }
        let mut frames = log.frames(WalHeader::SIZE as u64, log.header.checksum);
        while !others.is_empty()
            && let Some(frame) = frames.next_frame(&mut content)?
        {
            let found = PageDigest::of(generation, frame.page, &content);
            if others.get(&frame.page) == Some(&found) {
                others.remove(&frame.page);
            }
        }
        Ok(others.is_empty())
    }

    /// All of the log is in the file.
    pub(super) fn begin(&mut self) {
        self.pages.clear();
        self.is_whole = true;
    }
}
