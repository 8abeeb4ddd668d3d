mod entries;
#[cfg(test)]
mod simulation;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use entries::{ENTRY, Entries, Entry};

use super::durable::{create_anew, located};
use crate::failpoint::Failpoint;
use crate::format::{Digest, Generation, PageDigest};
use crate::wal::PageSize;

/// The digest of every page of a database, as the replicas know it, in a file.
///
/// With it the digest of the whole database follows from the frames alone, and after a stop the
/// pages that changed while nobody watched can be told from those that did not. Sixteen bytes a
/// page: 0.4 % of a database with pages of 4 KiB. A header takes the place of page 0, which does
/// not exist. It is a cache: without it, or when it does not match the cursor, a new generation
/// begins.
///
/// A change is in the file only once it is flushed.
///
/// The table models the file that `restore` makes, which is cut to the size of the database at the
/// end of each WAL: until then, pages beyond the end keep their content and may come back.
#[derive(Debug)]
pub struct PageTable {
    entries: Entries,
    generation: Generation,
    page_size: PageSize,
    /// Pages of the database.
    pages: u32,
    /// Pages that have an entry.
    extent: u32,
    digest: Digest,
}

impl PageTable {
    /// Reads a whole database, page by page, and makes its table.
    pub fn build(
        path: &Path,
        generation: Generation,
        page_size: PageSize,
        pages: u32,
        mut image: impl Read,
    ) -> io::Result<Self> {
        let located = |error| located(path, &error);
        let options = &mut OpenOptions::new();
        let file = create_anew(options.read(true).write(true), path).map_err(located)?;
        let mut entries = BufWriter::with_capacity(1 << 18, &file);
        entries.write_all(&header(generation))?;
        let mut digest = Digest::default();
        let mut page = vec![0; page_size.bytes()];
        for number in 1..=pages {
            image.read_exact(&mut page)?;
            let entry = PageDigest::of(generation, number, &page);
            digest = digest.with(entry);
            entries.write_all(&entry.0.to_le_bytes()).map_err(located)?;
        }
        entries.flush().map_err(located)?;
        drop(entries);
        Failpoint::PagesBuilt.pass()?;
        Ok(Self {
            entries: Entries::new(file),
            generation,
            page_size,
            pages,
            extent: pages,
            digest,
        })
    }

    /// Opens the table of `generation`. `None` if there is no such table, or a shorter one.
    pub fn open(
        path: &Path,
        generation: Generation,
        page_size: PageSize,
        pages: u32,
    ) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(located(path, &error)),
        };
        let extent = (file.metadata()?.len() / ENTRY).saturating_sub(1);
        let extent = u32::try_from(extent).unwrap_or(u32::MAX);
        let mut entries = Entries::new(file);
        if extent < pages || !entries.get(0).is_ok_and(|found| found == header(generation)) {
            return Ok(None);
        }
        let digest = Digest::default();
        let mut table = Self { entries, generation, page_size, pages, extent, digest };
        table.sum()?;
        Ok(Some(table))
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Computes the digest anew from all entries.
    pub fn sum(&mut self) -> io::Result<()> {
        self.digest = self.fold(Digest::default(), 1, self.pages, Digest::with)?;
        self.flush()
    }

    /// Notes a page that was written, and returns its digest from before, if there was such a page.
    pub fn update(&mut self, page: u32, content: &[u8]) -> io::Result<Option<PageDigest>> {
        self.set(page, PageDigest::of(self.generation, page, content))
    }

    /// Notes a page with the digest `entry`, and returns its digest from before, if there was such
    /// a page.
    pub fn set(&mut self, page: u32, entry: PageDigest) -> io::Result<Option<PageDigest>> {
        self.extend(page - 1)?;
        let before = if page <= self.pages { Some(self.entry(page)?) } else { None };
        if let Some(before) = before {
            self.digest = self.digest.without(before).with(entry);
        }
        self.extent = self.extent.max(page);
        self.entries.set(page, entry.0.to_le_bytes())?;
        Ok(before)
    }

    /// Notes the size of the database at a commit.
    pub fn commit(&mut self, pages: u32) -> io::Result<()> {
        self.extend(pages)?;
        self.digest = if self.pages < pages {
            self.fold(self.digest, self.pages + 1, pages, Digest::with)?
        } else {
            self.fold(self.digest, pages + 1, self.pages, Digest::without)?
        };
        self.pages = pages;
        Ok(())
    }

    /// Forgets what is beyond the end of the database: the WAL is at its end.
    pub fn end_of_log(&mut self) -> io::Result<()> {
        self.extent = self.pages;
        self.entries.truncate(self.pages + 1)
    }

    /// Whether `content` is what the replicas have as `page`. Beyond the end of the database they
    /// may have anything: zeros, or what was there earlier in the same log.
    pub fn holds(&mut self, page: u32, content: &[u8]) -> io::Result<bool> {
        let digest = PageDigest::of(self.generation, page, content);
        Ok(page <= self.pages && self.entry(page)? == digest)
    }

    /// Whether `content` is what `page` was when it had the digest `before`, and is not what it is
    /// now.
    pub fn was(&mut self, page: u32, before: PageDigest, content: &[u8]) -> io::Result<bool> {
        let found = PageDigest::of(self.generation, page, content);
        Ok(found == before && !self.holds(page, content)?)
    }

    /// Which of the pages in `run`, from `first` on, are not what the replicas have.
    pub fn changed(&mut self, first: u32, run: &[u8]) -> io::Result<Vec<u32>> {
        let mut changed = Vec::new();
        for (page, content) in (first..).zip(run.chunks(self.page_size.bytes())) {
            if !self.holds(page, content)? {
                changed.push(page);
            }
        }
        // The entries are no longer needed in memory.
        self.flush()?;
        Ok(changed)
    }

    /// Writes what has changed to the file, for the next process.
    pub fn flush(&mut self) -> io::Result<()> {
        self.entries.flush()
    }

    /// Makes durable what was flushed.
    pub fn sync(&self) -> io::Result<()> {
        self.entries.sync()
    }

    fn entry(&mut self, page: u32) -> io::Result<PageDigest> {
        self.entries.get(page).map(u128::from_le_bytes).map(PageDigest)
    }

    /// Gives an entry to the pages up to `page` that have none: a file grows by zeros.
    fn extend(&mut self, page: u32) -> io::Result<()> {
        if page <= self.extent {
            return Ok(());
        }
        let zeros = vec![0; self.page_size.bytes()];
        for number in self.extent + 1..=page {
            let entry = PageDigest::of(self.generation, number, &zeros);
            self.entries.set(number, entry.0.to_le_bytes())?;
        }
        self.extent = page;
        Ok(())
    }

    fn fold(
        &mut self,
        mut digest: Digest,
        first: u32,
        last: u32,
        step: impl Fn(Digest, PageDigest) -> Digest,
    ) -> io::Result<Digest> {
        for page in first..=last {
            digest = step(digest, self.entry(page)?);
        }
        Ok(digest)
    }
}

fn header(generation: Generation) -> Entry {
    let mut header = *b"PAGES 1 ........";
    header[8..].copy_from_slice(&generation.bits().to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: Generation = Generation::from_bits(7);

    fn size() -> PageSize {
        PageSize::new(512).unwrap()
    }

    fn build(path: &Path, pages: &[u8]) -> PageTable {
        let count = u32::try_from(pages.len()).unwrap();
        let image: Vec<u8> = pages.iter().flat_map(|&fill| [fill; 512]).collect();
        PageTable::build(path, GENERATION, size(), count, image.as_slice()).unwrap()
    }

    /// The digest that the table should have for a database with these pages.
    fn expected(pages: &[u8]) -> Digest {
        (1..).zip(pages).fold(Digest::default(), |digest, (page, &fill)| {
            digest.with(PageDigest::of(GENERATION, page, &[fill; 512]))
        })
    }

    #[test]
    fn follows_a_database_that_changes_grows_and_shrinks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pages");
        let mut table = build(&path, &[1, 2, 3]);
        assert_eq!(table.digest(), expected(&[1, 2, 3]));

        table.update(2, &[9; 512]).unwrap();
        table.update(6, &[6; 512]).unwrap();
        table.commit(6).unwrap();
        assert_eq!(table.digest(), expected(&[1, 9, 3, 0, 0, 6]));

        table.commit(2).unwrap();
        assert_eq!(table.digest(), expected(&[1, 9]));
        table.commit(3).unwrap();
        assert_eq!(table.digest(), expected(&[1, 9, 3]), "a page comes back within a log");

        table.commit(2).unwrap();
        assert!(!table.holds(3, &[3; 512]).unwrap(), "the next log finds zeros there");
        assert!(!table.holds(3, &[0; 512]).unwrap(), "and this one what was there");
        table.end_of_log().unwrap();
        table.commit(3).unwrap();
        assert_eq!(table.digest(), expected(&[1, 9, 0]), "but not after its end");

        table.flush().unwrap();
        let found = PageTable::open(&path, GENERATION, size(), 3).unwrap().unwrap();
        assert_eq!(found.digest(), table.digest());
    }

    #[test]
    fn knows_its_generation_and_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pages");
        assert!(PageTable::open(&path, GENERATION, size(), 1).unwrap().is_none());
        build(&path, &[1]);
        assert!(PageTable::open(&path, GENERATION, size(), 2).unwrap().is_none());
        assert!(PageTable::open(&path, Generation::from_bits(8), size(), 1).unwrap().is_none());
        let mut table = PageTable::open(&path, GENERATION, size(), 1).unwrap().unwrap();
        assert!(table.holds(1, &[1; 512]).unwrap());
        assert!(!table.holds(1, &[2; 512]).unwrap());
        assert!(!table.holds(2, &[0; 512]).unwrap());
    }
}
