use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::image::Image;
use crate::failpoint::Failpoint;
use crate::format::{Content, Digest, Key, PageDigest, Seal, WalIndex, lz4};

/// A snapshot that is to be stored.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) image: Arc<Image>,
    /// What the image is, according to the log as far as it was followed.
    pub(super) seal: Seal,
}

impl Snapshot {
    pub(super) fn key(&self) -> Key {
        Key::Snapshot { generation: self.seal.generation, index: self.seal.start.index }
    }

    /// The most bytes that the object can have: what cannot be compressed is stored as it is.
    pub(super) fn size_max(&self) -> u64 {
        self.image.bytes() + self.image.bytes() / 1000 + 4096
    }

    /// This snapshot, for a replica that has a snapshot of index `predecessor`, and all that leads
    /// from there to this one.
    pub(super) fn behind(&self, predecessor: WalIndex) -> Self {
        let content = Content::Snapshot { predecessor: Some(predecessor) };
        let seal = Seal { content, ..self.seal };
        Self { seal, ..self.clone() }
    }

    /// The object, from its first byte. It is made while it is read, and can be made again.
    pub(super) fn object(&self) -> SnapshotObject {
        SnapshotObject {
            snapshot: self.clone(),
            encoder: Some(lz4::Encoder::new(Vec::new(), self.image.bytes())),
            next: 1,
            run: Vec::new(),
            digest: Digest::default(),
            read: Arc::default(),
            ready: Vec::new(),
            taken: 0,
        }
    }
}

/// Whether reading a snapshot failed because it is not what its seal says.
pub(super) fn is_mismatch(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Compresses and seals an image, a run of pages at a time.
///
/// Fails if the image is not what its seal says: then something was written to the database that
/// was not in its log, or we missed it, and the snapshot must not be stored.
#[derive(Debug)]
pub(super) struct SnapshotObject {
    snapshot: Snapshot,
    encoder: Option<lz4::Encoder<Vec<u8>>>,
    next: u32,
    run: Vec<u8>,
    digest: Digest,
    /// Bytes of the image that were read.
    read: Arc<AtomicU64>,
    ready: Vec<u8>,
    taken: usize,
}

impl SnapshotObject {
    /// How many bytes of the image were read, updated while the object is read.
    pub(super) fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    fn compress_next_run(&mut self) -> io::Result<()> {
        let Snapshot { image, seal } = &self.snapshot;
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let first = self.next;
        Failpoint::SnapshotReading.pass()?;
        image.read_run(&mut self.next, &mut self.run)?;
        for (page, content) in (first..).zip(self.run.chunks(image.page_size().bytes())) {
            self.digest = self.digest.with(PageDigest::of(seal.generation, page, content));
        }
        self.read.fetch_add(self.run.len() as u64, Ordering::Relaxed);
        encoder.write_all(&self.run)?;
        self.ready = std::mem::take(encoder.get_mut());
        if self.run.is_empty() {
            self.finish()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let seal = &self.snapshot.seal;
        if self.digest != seal.digest {
            let mismatch = "the database file is not what was captured from its log";
            return Err(io::Error::new(io::ErrorKind::InvalidData, mismatch));
        }
        if let Some(encoder) = self.encoder.take() {
            self.ready.extend(encoder.finish()?);
            seal.write(&mut self.ready)?;
        }
        Ok(())
    }
}

impl Read for SnapshotObject {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() && self.encoder.is_some() {
            self.ready.clear();
            self.taken = 0;
            self.compress_next_run()?;
        }
        let read = (&self.ready[self.taken..]).read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}
