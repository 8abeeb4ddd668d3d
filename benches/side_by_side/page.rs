//! What is done to each page on its way from the log to a segment, and from there to a database,
//! by our program only: a MiB of pages of 4 KiB, half of it random.

use std::io::{self, Write};

use divan::counter::BytesCount;
use divan::{Bencher, Divan};
use litestream::format::{Digest, Generation, PageDigest, WalIndex, WalPos, lz4};
use litestream::restore::{Applier, Image};
use litestream::wal::{ByteOrder, Checksum, FrameReader, FrameWriter, PageSize, Salt, WalHeader};
use sha2::{Digest as _, Sha256};

use super::Bench;

const PAGES: u32 = 256;
const PAGE_BYTES: usize = 4096;

pub(crate) fn measure(_: &mut Bench) {
    Divan::default().run_benches();
}

fn pages() -> Vec<Vec<u8>> {
    let page = |_| {
        let mut page = vec![0; PAGE_BYTES];
        page[..PAGE_BYTES / 2].fill_with(|| fastrand::u8(..));
        page
    };
    (0..PAGES).map(page).collect()
}

fn header() -> WalHeader {
    WalHeader::new(PageSize::new(4096).unwrap(), Salt(*b"saltsalt"))
}

/// A log with the pages as transactions of one frame each.
fn log() -> Vec<u8> {
    let mut log = Vec::new();
    let mut frames = FrameWriter::new(&mut log, &header()).unwrap();
    for (number, page) in (1..).zip(pages()) {
        frames.write_frame(number, Some(PAGES), &page).unwrap();
    }
    log
}

fn compressed(content: &[u8]) -> Vec<u8> {
    let mut encoder = lz4::Encoder::new(Vec::new(), content.len() as u64);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Makes a benchmark report the bytes of pages per second.
fn per_second<'a, 'b>(bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
    bencher.counter(BytesCount::new(PAGES as usize * PAGE_BYTES))
}

/// SQLite's checksum of each frame.
#[divan::bench]
fn checksum(bencher: Bencher<'_, '_>) {
    let pages = pages();
    per_second(bencher).bench_local(|| {
        let add = |sum: Checksum, page: &Vec<u8>| sum.update(ByteOrder::Little, page);
        pages.iter().fold(Checksum::default(), add)
    });
}

/// The digest of the whole database.
#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    let pages = pages();
    per_second(bencher).bench_local(|| {
        let digests = (1..).zip(&pages);
        let digests =
            digests.map(|(number, page)| PageDigest::of(Generation::from_bits(1), number, page));
        digests.fold(Digest::default(), Digest::with)
    });
}

#[divan::bench]
fn compress(bencher: Bencher<'_, '_>) {
    let log = log();
    per_second(bencher).bench_local(|| compressed(&log));
}

/// What S3 requires to be signed over http: the hash of what is sent.
#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let object = compressed(&log());
    per_second(bencher).bench_local(|| Sha256::digest(&object));
}

#[divan::bench]
fn decompress(bencher: Bencher<'_, '_>) {
    let object = compressed(&log());
    per_second(bencher).bench_local(|| {
        io::copy(&mut lz4::Decoder::new(object.as_slice()), &mut io::sink()).unwrap()
    });
}

/// Reads the frames of a log, and checks their checksums.
#[divan::bench]
fn read_frames(bencher: Bencher<'_, '_>) {
    let log = log();
    per_second(bencher).bench_local(|| {
        let mut page = vec![0; PAGE_BYTES];
        let mut frames = FrameReader::new(&log[WalHeader::SIZE..], &header());
        while frames.next_frame(&mut page).unwrap().is_some() {}
    });
}

/// A database in memory.
#[derive(Default)]
struct Database(Vec<u8>);

impl Image for Database {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.0.resize(self.0.len().max(offset + bytes.len()), 0);
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.0.resize(usize::try_from(bytes).unwrap(), 0);
        Ok(())
    }
}

/// Applies a segment to a database, with all that a restore does.
#[divan::bench]
fn apply(bencher: Bencher<'_, '_>) {
    let (snapshot, segment) = (compressed(&pages().concat()), compressed(&log()));
    let begun = || {
        let (image, spill) = (Database::default(), tempfile::tempfile().unwrap());
        let mut applier = Applier::new(image, spill, Generation::from_bits(1), WalIndex::default());
        applier.snapshot(snapshot.as_slice()).unwrap();
        applier
    };
    per_second(bencher).with_inputs(begun).bench_local_values(|mut applier| {
        applier.segment(WalPos::default(), segment.as_slice()).unwrap();
        applier.finish().unwrap()
    });
}
