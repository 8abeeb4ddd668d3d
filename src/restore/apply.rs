//! Makes a database of objects. Every byte is checked before it counts.
//!
//! The result is what SQLite makes of the same WALs with one checkpoint after each: the newest
//! committed version of every page, and the file cut or extended to the size in the last commit of
//! the WAL.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use tracing::warn;

use super::chain::{Chain, Reached};
use super::image::{DirtyPages, Image};
use super::plan_error::BEFORE_THE_LOSS;
use super::transaction::Transaction;
use crate::format::lz4::{self, ObjectContent};
use crate::format::{Generation, Key, Seal, WalIndex, WalPos};
use crate::wal::{Checksum, FrameHeader, FrameReader, PageSize, WalHeader};

/// The longest single write of a snapshot.
const COPY_BYTES: usize = 1 << 20;
/// Bytes of the header of a database.
const HEADER_BYTES: usize = 100;

/// Why objects cannot be made into a database.
#[derive(Debug)]
pub enum ApplyError {
    /// An object is damaged, does not belong there, or cannot be fetched.
    Object { key: Key, cause: Box<dyn std::error::Error + Send + Sync> },
    /// The image cannot be written.
    Image(io::Error),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { key, cause } => write!(f, "{key}: {cause}"),
            Self::Image(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ApplyError {}

impl ApplyError {
    pub(super) fn object(
        key: Key,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Object { key, cause: cause.into() }
    }
}

/// Applies one snapshot and the segments that follow it.
#[derive(Debug)]
pub struct Applier<I> {
    image: I,
    spill: File,
    generation: Generation,
    snapshot: WalIndex,
    chain: Chain,
    /// The page size. `None` until there is a page or a WAL.
    page_size: Option<PageSize>,
    /// The size of the database, as of the last commit.
    bytes: u64,
    wal: Option<Wal>,
}

/// The WAL that is being applied.
#[derive(Debug)]
struct Wal {
    header: WalHeader,
    /// The position after the last frame.
    end: WalPos,
    /// The position after the last commit.
    committed: WalPos,
    checksum: Checksum,
    /// Whether each object of the WAL ends with a commit, or else is refused: then frames need not
    /// wait for the commit of their transaction.
    ends_with_commits: bool,
    transaction: Transaction,
    dirty: DirtyPages,
}

/// A finished image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The position after the last transaction.
    pub position: WalPos,
    /// `None` for an empty database.
    pub page_size: Option<PageSize>,
    pub bytes: u64,
    /// The seal of the last object, if it has one.
    pub seal: Option<Seal>,
}

impl<I: Image> Applier<I> {
    /// Builds the database in `image`, which is empty. `spill` is an empty file for transactions
    /// that are too large for memory.
    pub fn new(image: I, spill: File, generation: Generation, snapshot: WalIndex) -> Self {
        let chain = Chain::new(generation);
        let (page_size, bytes, wal) = (None, 0, None);
        Self { image, spill, generation, snapshot, chain, page_size, bytes, wal }
    }

    /// Applies the object of the snapshot, which comes first.
    pub fn snapshot(&mut self, object: impl Read) -> Result<(), ApplyError> {
        self.snapshot_content(lz4::Decoder::new(object))
    }

    /// Applies the content of the object of the snapshot.
    pub(super) fn snapshot_content(
        &mut self,
        mut content: impl ObjectContent,
    ) -> Result<(), ApplyError> {
        let key = self.snapshot_key();
        let fail = |cause: String| ApplyError::object(key, cause);
        let mut start = Vec::new();
        loop {
            let filled = content.fill_buf().map_err(|error| ApplyError::object(key, error))?;
            if filled.is_empty() {
                break;
            }
            let run = &filled[..filled.len().min(COPY_BYTES)];
            if start.len() < HEADER_BYTES {
                start.extend_from_slice(&run[..run.len().min(HEADER_BYTES - start.len())]);
            }
            self.image.write_at(run, self.bytes).map_err(ApplyError::Image)?;
            let length = run.len();
            self.bytes += length as u64;
            content.consume(length);
        }
        self.page_size = page_size(&start);
        let seal = find_seal(&content).map_err(fail)?;
        self.chain.snapshot(self.snapshot, seal, self.bytes).map_err(fail)
    }

    /// Applies the object of the segment that begins at `pos`.
    pub fn segment(&mut self, pos: WalPos, object: impl Read) -> Result<(), ApplyError> {
        self.segment_content(pos, lz4::Decoder::new(object))
    }

    /// Applies the content of the object of the segment that begins at `pos`.
    pub(super) fn segment_content(
        &mut self,
        pos: WalPos,
        content: impl ObjectContent,
    ) -> Result<(), ApplyError> {
        let key = Key::Segment { generation: self.generation, pos };
        let mut source = Counted { source: content, bytes: 0 };
        let before = self.wal.as_ref().map(|wal| (wal.header.salt, wal.end));
        if pos.offset == 0 {
            self.begin_wal(key, pos.index, &mut source)?;
        }
        let reached = self.apply_frames(key, pos, &mut source)?;
        let seal = find_seal(&source.source).map_err(|cause| ApplyError::object(key, cause))?;
        let is_sealed = seal.is_some() || self.chain.begins_sealed();
        if is_sealed && reached.end != self.position() {
            return Err(ApplyError::object(key, "it ends within a transaction"));
        }
        let linked = self
            .chain
            .segment(pos, seal, &reached)
            .map_err(|cause| ApplyError::object(key, cause))?;
        if let Some((salt, end)) = before.filter(|(_, end)| end.index < pos.index && !linked) {
            let restarts = salt.restarts_until(reached.salt);
            if restarts != 1 {
                warn!(
                    object = %key, after = %end, restarts,
                    "the log was restarted more than once before this object: transactions in \
                     between may be missing"
                );
            }
        }
        Ok(())
    }

    /// Ends the image with the last committed transaction.
    pub fn finish(mut self) -> Result<Applied, ApplyError> {
        self.end_wal()?;
        let position = self.position();
        // A snapshot that was taken in the middle of a WAL is consistent before that WAL is
        // applied, and again once the WAL has been applied up to there.
        let needed = self.wal.as_ref().and_then(|wal| self.chain.whole_from(wal.header.salt));
        if let Some(needed) = needed.filter(|needed| position < *needed) {
            let cause = format!(
                "it was copied at {needed}, and is of no use with a WAL that ends at {position}"
            );
            return Err(ApplyError::object(self.snapshot_key(), cause));
        }
        let (page_size, bytes) = (self.page_size, self.bytes);
        Ok(Applied { position, page_size, bytes, seal: self.chain.last().copied() })
    }

    fn snapshot_key(&self) -> Key {
        Key::Snapshot { generation: self.generation, index: self.snapshot }
    }

    /// The position after the last commit.
    fn position(&self) -> WalPos {
        self.wal.as_ref().map_or(WalPos::start_of(self.snapshot), |wal| wal.committed)
    }

    /// Reads the header of a WAL, after all of the one before it has been applied.
    fn begin_wal(
        &mut self,
        key: Key,
        index: WalIndex,
        source: &mut impl Read,
    ) -> Result<(), ApplyError> {
        let expected = self.wal.as_ref().map_or(Some(self.snapshot), |wal| wal.end.index.next());
        if expected != Some(index) {
            return Err(ApplyError::object(key, "the WAL before it is missing"));
        }
        self.end_wal()?;
        let mut header = [0; WalHeader::SIZE];
        source.read_exact(&mut header).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ApplyError::object(key, "it is cut short"),
            _ => ApplyError::object(key, error),
        })?;
        let header = WalHeader::parse(&header).map_err(|error| ApplyError::object(key, error))?;
        let page_size = *self.page_size.get_or_insert(header.page_size);
        if page_size != header.page_size {
            let cause = format!(
                "its pages have {} bytes, those of the snapshot {}",
                header.page_size.get(),
                page_size.get()
            );
            return Err(ApplyError::object(key, cause));
        }
        let spill = self.spill.try_clone().map_err(ApplyError::Image)?;
        let end = WalPos { index, offset: WalHeader::SIZE as u64 };
        self.wal = Some(Wal {
            header,
            end,
            committed: end,
            checksum: header.checksum,
            ends_with_commits: self.chain.begins_sealed(),
            transaction: Transaction::new(page_size, spill),
            dirty: DirtyPages::new(page_size),
        });
        Ok(())
    }

    /// Applies the frames up to the end of the object. Every byte must belong to a valid frame.
    fn apply_frames(
        &mut self,
        key: Key,
        start: WalPos,
        source: &mut Counted<impl Read>,
    ) -> Result<Reached, ApplyError> {
        let expected = self.wal.as_ref().map(|wal| wal.end);
        let (Some(wal), true) = (&mut self.wal, start.offset == 0 || expected == Some(start))
        else {
            let end = expected.unwrap_or(WalPos::start_of(self.snapshot));
            let cause = if end < start {
                format!("a WAL segment is missing before it, behind {end}: {BEFORE_THE_LOSS}")
            } else {
                format!("it does not continue what is before it, which ends at {end}")
            };
            return Err(ApplyError::object(key, cause));
        };
        let page_size = wal.header.page_size;
        let mut page = vec![0; page_size.bytes()];
        let mut frames = FrameReader::resume(&mut *source, &wal.header, wal.checksum);
        while let Some(frame) =
            frames.next_frame(&mut page).map_err(|error| ApplyError::object(key, error))?
        {
            let pages = wal.take(frame, &page, &mut self.image).map_err(ApplyError::Image)?;
            if let Some(pages) = pages {
                self.bytes = u64::from(pages) * u64::from(page_size.get());
            }
        }
        wal.checksum = frames.checksum();
        if start.offset + source.bytes != wal.end.offset {
            let cause = format!("its frame at offset {} is damaged", wal.end.offset);
            return Err(ApplyError::object(key, cause));
        }
        let pages = self.bytes / u64::from(page_size.get());
        let (end, salt, checksum) = (wal.end, wal.header.salt, wal.checksum);
        Ok(Reached { end, salt, checksum, page_size, pages })
    }

    /// Does to the image what a checkpoint does to the database file.
    fn end_wal(&mut self) -> Result<(), ApplyError> {
        if let Some(wal) = &mut self.wal {
            wal.transaction.forget().map_err(ApplyError::Image)?;
            wal.dirty.flush(&mut self.image).map_err(ApplyError::Image)?;
            self.image.set_len(self.bytes).map_err(ApplyError::Image)?;
        }
        Ok(())
    }
}

impl Wal {
    /// Applies one frame. Returns the size of the database in pages if the frame commits.
    fn take(
        &mut self,
        frame: FrameHeader,
        page: &[u8],
        image: &mut impl Image,
    ) -> io::Result<Option<u32>> {
        self.end.offset += self.header.page_size.frame_bytes();
        let counts = self.ends_with_commits || frame.commit.is_some();
        if counts && self.transaction.is_empty() {
            self.dirty.put(frame.page, page, image)?;
        } else {
            self.transaction.push(frame.page, page)?;
        }
        if frame.commit.is_some() {
            self.transaction.commit(&mut self.dirty, image)?;
            self.committed = self.end;
        }
        Ok(frame.commit)
    }
}

/// The page size in the header of `database`, or `None` if it is not a database.
fn page_size(database: &[u8]) -> Option<PageSize> {
    let header =
        database.first_chunk::<HEADER_BYTES>().filter(|header| header.starts_with(b"SQLite f"))?;
    match u16::from_be_bytes([header[16], header[17]]) {
        1 => PageSize::new(65536),
        bytes => PageSize::new(bytes.into()),
    }
}

fn find_seal(content: &impl ObjectContent) -> Result<Option<Seal>, String> {
    Seal::find(content.skipped()).map_err(str::to_owned)
}

/// Counts the bytes read from `source`.
struct Counted<R> {
    source: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
