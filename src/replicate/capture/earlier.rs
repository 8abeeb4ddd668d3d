use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::format::{Generation, PageDigest};
use crate::sqlite::LogFile;
use crate::wal::{PageSize, WalHeader};

/// How many pages are remembered: a sample is enough, since a log is lost whole or not at all.
const PAGES_MAX: usize = 256;

/// What some pages were, if they existed, before they were captured from a log that the database
/// file may lack. Kept in memory: it is of use only while we have that log open.
#[derive(Debug, Default)]
pub(super) struct EarlierPages {
    pages: BTreeMap<u32, Option<PageDigest>>,
    /// Recorded since the file had all of the log: unless the log was copied since, each of these
    /// pages is in the file as recorded.
    is_whole: bool,
}

impl EarlierPages {
    /// Notes that a page is captured, and what it was `before`.
    pub(super) fn note(&mut self, page: u32, before: Option<PageDigest>) {
        if self.pages.len() < PAGES_MAX {
            self.pages.entry(page).or_insert(before);
        }
    }

    /// The pages that existed before.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, PageDigest)> {
        self.pages.iter().filter_map(|(&page, &before)| Some((page, before?)))
    }

    /// Whether each of the pages is in the file as it was before, or as some frame of the log has
    /// it. Otherwise the log was not written for this file. `true` if that is not known.
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

    /// Starts over: all of the log is in the file.
    pub(super) fn begin(&mut self) {
        self.pages.clear();
        self.is_whole = true;
    }
}
