use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use litestream::config::Config;
use litestream::format::{
    Content, Digest, Generation, History, Key, Link, LogPlace, Seal, WalIndex, WalPos, lz4,
};
use litestream::restore::plan::{plans, rank};
use litestream::restore::{Applier, ApplyError, Image, Target};
use litestream::verify::check;
use litestream::wal::{Checksum, FrameWriter, PageSize, Salt, WalHeader};

const GENERATION: Generation = Generation::from_bits(7);

/// An intact object of a few KB with `megabytes` MB of zeros, the most that LZ4 can compress.
fn zeros(megabytes: u64) -> Vec<u8> {
    let mut encoder = lz4::Encoder::new(Vec::new(), 1 << 30);
    io::copy(&mut io::repeat(0).take(megabytes << 20), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// An image that accepts everything and keeps nothing but its length.
#[derive(Default)]
struct Counter {
    longest: AtomicUsize,
}

impl Image for &Counter {
    fn write_at(&mut self, bytes: &[u8], _: u64) -> io::Result<()> {
        self.longest.fetch_max(bytes.len(), Ordering::Relaxed);
        Ok(())
    }

    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

fn applier(image: &Counter) -> Applier<&Counter> {
    Applier::new(image, tempfile::tempfile().unwrap(), GENERATION, WalIndex::default())
}

#[test]
fn what_expands_is_streamed() {
    let bomb = zeros(256);
    assert!(bomb.len() < 3 << 20, "{}", bomb.len());
    let image = Counter::default();
    applier(&image).snapshot(bomb.as_slice()).unwrap();
    assert!(image.longest.load(Ordering::Relaxed) <= 1 << 20);
}

/// The header of an LZ4 frame may announce the length of the content, and need not be true.
#[test]
fn what_claims_to_be_large_is_not_believed() {
    // Independent blocks of 4 MiB, with the size of the content, and its checksum as a byte.
    let mut object = vec![0x04, 0x22, 0x4d, 0x18, 0x68, 0x70];
    object.extend(u64::MAX.to_le_bytes());
    for checksum in 0..=255 {
        let claim = [object.as_slice(), &[checksum, 0, 0, 0, 0]].concat();
        let mut content = Vec::new();
        assert!(lz4::Decoder::new(claim.as_slice()).read_to_end(&mut content).is_err());
        assert!(content.capacity() < 1 << 16);
    }
    // A skippable frame of 4 GiB that is not there.
    let frame = [&0x184d_2a50_u32.to_le_bytes()[..], &u32::MAX.to_le_bytes(), b"x"].concat();
    let error = lz4::Decoder::new(frame.as_slice()).read(&mut [0]).unwrap_err();
    assert_eq!(error.to_string(), "it is cut short");
}

#[test]
fn a_page_size_is_checked_before_there_is_a_page() {
    for size in [0, 1, 511, 513, 131_072, 0x8000_0000, u32::MAX] {
        let header = WalHeader::new(PageSize::new(512).unwrap(), Salt([1; 8]));
        let mut bytes = header.to_bytes();
        bytes[8..12].copy_from_slice(&size.to_be_bytes());
        let checksum = Checksum::default().update(header.order, &bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_bytes());
        let error = WalHeader::parse(&bytes).unwrap_err().to_string();
        assert!(error.contains("page size"), "{error}");
    }
}

/// A page far beyond any other, and a database of 256 TiB: holes in a file.
#[test]
fn the_last_page_of_the_largest_database_takes_no_memory() {
    let size = PageSize::new(65536).unwrap();
    let header = WalHeader::new(size, Salt([1; 8]));
    let mut frames = FrameWriter::new(Vec::new(), &header).unwrap();
    for page in [u32::MAX, 1, u32::MAX - 1] {
        frames.write_frame(page, Some(u32::MAX), &vec![1; size.bytes()]).unwrap();
    }
    let mut encoder = lz4::Encoder::new(Vec::new(), 1 << 20);
    encoder.write_all(&frames.into_inner()).unwrap();
    let object = encoder.finish().unwrap();
    let image = Counter::default();
    let mut applier = applier(&image);
    applier.snapshot(zeros(0).as_slice()).unwrap();
    applier.segment(WalPos::default(), object.as_slice()).unwrap();
    let applied = applier.finish().unwrap();
    assert_eq!(applied.bytes, u64::from(u32::MAX) * 65536);
    assert_eq!(applied.position.offset, size.wal_bytes(3));
    assert!(image.longest.load(Ordering::Relaxed) <= 1 << 20);
}

/// A transaction that never commits goes to the spill file, and is discarded.
#[test]
fn a_transaction_without_an_end_is_spilled() {
    let size = PageSize::new(65536).unwrap();
    let header = WalHeader::new(size, Salt([1; 8]));
    let mut frames = FrameWriter::new(lz4::Encoder::new(Vec::new(), 1 << 30), &header).unwrap();
    let count = 1000;
    for page in 1..=count {
        frames.write_frame(page, None, &vec![0; size.bytes()]).unwrap();
    }
    let object = frames.into_inner().finish().unwrap();
    assert!(object.len() < 1 << 20);
    let image = Counter::default();
    let spill = tempfile::tempfile().unwrap();
    let mut applier =
        Applier::new(&image, spill.try_clone().unwrap(), GENERATION, WalIndex::default());
    applier.snapshot(zeros(0).as_slice()).unwrap();
    applier.segment(WalPos::default(), object.as_slice()).unwrap();
    assert!(spill.metadata().unwrap().len() > u64::from(count - 300) * 65536);
    assert_eq!(applier.finish().unwrap().bytes, 0);
    assert_eq!(spill.metadata().unwrap().len(), 0);
}

/// An object of nothing but skippable frames.
#[test]
fn what_is_skipped_is_not_all_kept() {
    let mut object = Vec::new();
    for _ in 0..100_000 {
        lz4::write_skippable(&mut object, b"").unwrap();
    }
    let image = Counter::default();
    let error = applier(&image).snapshot(object.as_slice()).unwrap_err();
    assert!(matches!(error, ApplyError::Object { .. }), "{error}");
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// If every plan had a list of its own of the segments to apply, 50,000 snapshots with 50,000
/// segments after them would take 50 GB, although only one plan is needed.
#[test]
fn a_hundred_thousand_objects_are_planned_at_once() {
    let objects = (0..50_000).flat_map(|number| {
        let index = WalIndex::new(number).unwrap();
        let created = at(number.into());
        let segment = Key::Segment { generation: GENERATION, pos: WalPos::start_of(index) };
        [(Key::Snapshot { generation: GENERATION, index }, 1, created), (segment, 1, created)]
    });
    let histories = [History::new(GENERATION, objects)];
    for target in [Target::Latest, Target::Timestamp(at(30_000))] {
        assert_eq!(rank(&histories, target, None).unwrap().usable, [0]);
        let plans = plans(&histories[0], target).unwrap();
        let (newest, oldest) = (&plans[0], &plans[plans.len() - 1]);
        assert_eq!(newest.segments.len(), 1);
        assert_eq!(oldest.segments.len(), plans.len());
        assert_eq!(newest.last_key(), oldest.last_key());
    }
}

/// The search for the newest generation must not go through all objects for each comparison.
#[test]
fn a_hundred_thousand_generations_are_ranked_at_once() {
    let count = 100_000_u64;
    let histories: Vec<History> = (0..count)
        .map(|number| {
            let generation = Generation::from_bits(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let snapshot = Key::Snapshot { generation, index: WalIndex::default() };
            History::new(generation, [(snapshot, 1, at(number))])
        })
        .collect();
    let ranking = rank(&histories, Target::Latest, None).unwrap();
    assert_eq!(ranking.usable.len() as u64, count);
    assert_eq!(histories[ranking.usable[0]].created(), Some((at(count - 1), at(count - 1))));
}

/// Each defect must not be compared with all earlier ones.
#[test]
fn a_hundred_thousand_defects_are_reported_at_once() {
    let seal = Seal {
        content: Content::Segment { checksum: [0; 8] },
        generation: GENERATION,
        start: WalPos::default(),
        end: WalPos { offset: 100, ..WalPos::default() },
        page_size: 4096,
        pages: 1,
        committed: SystemTime::UNIX_EPOCH,
        salt: [0; 8],
        log: LogPlace::default(),
        digest: Digest(0),
        previous: Link(0),
    };
    // All of them are the same object under different names.
    let keys = (0..100_000).map(|number| {
        let pos = WalPos { offset: number * 100, ..WalPos::default() };
        Key::Segment { generation: GENERATION, pos }
    });
    let seals = keys.clone().map(|key| (key, Ok(Some(seal)))).collect();
    let history = History::new(GENERATION, keys.map(|key| (key, 1, SystemTime::UNIX_EPOCH)));
    assert_eq!(check(&history, &seals).len(), 100_000);
}

/// Ten aliases of ten aliases of …: a few hundred bytes that expand to a billion values.
#[test]
fn aliases_do_not_multiply() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{alias}]").unwrap();
    }
    for text in [format!("dbs: *a9\n{text}"), text.clone(), format!("{text}dbs: *a9\n"), deep()] {
        let error = Config::parse(&text, None).unwrap_err().to_string();
        assert!(!error.is_empty() && error.len() < 1000, "{error}");
    }
    // Again under known names.
    let nested = text.replace("a0:", "dbs:").replace("a1:", "logging:");
    assert!(Config::parse(&nested, None).is_err());
}

fn deep() -> String {
    format!("dbs: {}", "[".repeat(5_000))
}
