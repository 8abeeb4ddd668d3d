use std::collections::BTreeMap;

use crate::format::PageDigest;

/// Of how many pages it is kept. All of a log is lost, or nothing.
const PAGES_MAX: usize = 256;

/// What some pages were before they were captured from a log that may be missing in the database
/// file. Kept in memory: it is of use as long as we have that log open.
#[derive(Debug, Default)]
pub(super) struct EarlierPages(BTreeMap<u32, PageDigest>);

impl EarlierPages {
    /// Takes note of a page that is captured, and was that before.
    pub(super) fn note(&mut self, page: u32, before: PageDigest) {
        if self.0.len() < PAGES_MAX {
            self.0.entry(page).or_insert(before);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, PageDigest)> {
        self.0.iter().map(|(&page, &before)| (page, before))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
