use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Weak};

use super::cancellation::Cancellation;
use crate::format::{Digest, Generation, PageDigest};
use crate::sqlite::LogFile;
use crate::wal::{PageSize, WalHeader};

/// Bytes that are read at a time: sixteen of the largest pages, or more of smaller ones.
const RUN: usize = 1 << 20;

/// A consistent state of a database. It stays as it is while the read transaction lasts under which
/// it was made.
///
/// After a complete checkpoint it is the database file. Otherwise it is that file with the newest
/// version of every page that the log has: SQLite copies nothing of the log beyond our read
/// transaction, and pages that are not in the log are not written at all.
#[derive(Debug)]
pub(super) struct Image {
    file: Arc<File>,
    page_size: PageSize,
    pages: u32,
    log: Option<LogPages>,
    cancellation: Cancellation,
    /// The lease of the read transaction, if that may end before the image is read.
    lease: Option<Weak<()>>,
}

/// The newest version of each page in a log: where its content begins.
#[derive(Debug)]
struct LogPages {
    file: File,
    offsets: HashMap<u32, u64>,
}

impl Image {
    /// The database file alone.
    pub(super) fn of_file(file: Arc<File>, page_size: PageSize, pages: u32) -> Self {
        let (log, cancellation, lease) = (None, Cancellation::default(), None);
        Self { file, page_size, pages, log, cancellation, lease }
    }

    /// The database file under `log`, whose last commit ends at `end`.
    pub(super) fn with_log(
        file: Arc<File>,
        page_size: PageSize,
        pages: u32,
        log: LogFile,
        end: u64,
    ) -> io::Result<Self> {
        let mut offsets = HashMap::new();
        let mut page = vec![0; page_size.bytes()];
        let mut offset = WalHeader::SIZE as u64;
        let mut frames = log.frames(offset, log.header.checksum);
        while offset < end {
            let frame = frames.next_frame(&mut page)?.ok_or_else(changed)?;
            offset += page_size.frame_bytes();
            offsets.insert(frame.page, offset - u64::from(page_size.get()));
        }
        drop(frames);
        let log = Some(LogPages { file: log.into_file(), offsets });
        Ok(Self { log, ..Self::of_file(file, page_size, pages) })
    }

    /// Makes reading fail once `cancellation` is cancelled.
    pub(super) fn until(self, cancellation: &Cancellation) -> Self {
        Self { cancellation: cancellation.clone(), ..self }
    }

    /// Makes reading fail once `lease` has ended.
    pub(super) fn under(self, lease: Weak<()>) -> Self {
        Self { lease: Some(lease), ..self }
    }

    pub(super) fn page_size(&self) -> PageSize {
        self.page_size
    }

    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    /// Bytes of the database.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.pages) * u64::from(self.page_size.get())
    }

    /// Reads the pages from `first` on that fill `buffer`.
    pub(super) fn read_pages(&self, first: u32, buffer: &mut [u8]) -> io::Result<()> {
        let size = self.page_size.bytes();
        read_or_zeros(&self.file, buffer, u64::from(first - 1) * size as u64)?;
        let Some(log) = &self.log else { return Ok(()) };
        for (page, content) in (first..).zip(buffer.chunks_mut(size)) {
            if let Some(&offset) = log.offsets.get(&page) {
                log.file.read_exact_at(content, offset)?;
            }
        }
        Ok(())
    }

    /// The digest of the whole image, in this generation.
    pub(super) fn digest(&self, generation: Generation) -> io::Result<Digest> {
        let (mut next, mut run, mut digest) = (1, Vec::new(), Digest::default());
        loop {
            let first = next;
            self.read_run(&mut next, &mut run)?;
            if run.is_empty() {
                return Ok(digest);
            }
            for (page, content) in (first..).zip(run.chunks(self.page_size.bytes())) {
                digest = digest.with(PageDigest::of(generation, page, content));
            }
        }
    }

    /// Reads the whole image from its first byte.
    pub(super) fn reader(&self) -> ImageReader<'_> {
        ImageReader { image: self, next: 1, run: Vec::new(), taken: 0 }
    }

    /// Reads the next run of pages into `run`. `next` is the first page of it, and afterwards the
    /// one after the last. Beyond the end, the run is empty.
    pub(super) fn read_run(&self, next: &mut u32, run: &mut Vec<u8>) -> io::Result<()> {
        self.cancellation.check()?;
        if self.lease.as_ref().is_some_and(|lease| lease.strong_count() == 0) {
            return Err(io::Error::other("the database was closed meanwhile"));
        }
        let size = self.page_size.bytes();
        let left = u64::from(self.pages) + 1 - u64::from(*next);
        let count = left.min((RUN / size) as u64);
        run.resize(usize::try_from(count).unwrap_or_default() * size, 0);
        self.read_pages(*next, run)?;
        *next += u32::try_from(count).unwrap_or_default();
        Ok(())
    }
}

/// Fills `buffer` from the file, and with zeros beyond its end, where only the log has pages.
fn read_or_zeros(file: &File, buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    let mut rest = buffer;
    while !rest.is_empty() {
        match file.read_at(rest, offset) {
            Ok(0) => {
                rest.fill(0);
                return Ok(());
            }
            Ok(read) => {
                offset += read as u64;
                rest = &mut rest[read..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn changed() -> io::Error {
    io::Error::other("the log changed while it was read")
}

#[derive(Debug)]
pub(super) struct ImageReader<'a> {
    image: &'a Image,
    next: u32,
    run: Vec<u8>,
    taken: usize,
}

impl Read for ImageReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.run.len() {
            self.image.read_run(&mut self.next, &mut self.run)?;
            self.taken = 0;
        }
        let read = (&self.run[self.taken..]).read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}
