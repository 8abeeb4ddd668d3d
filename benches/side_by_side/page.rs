//! What is done to each page on its way from the log to a segment, by this program.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use litestream::format::{Digest, Generation, PageDigest, lz4};
use litestream::wal::{ByteOrder, Checksum};

use super::Bench;

const PAGES: u32 = 20_000;

pub(crate) fn measure(_: &mut Bench) {
    let generation = Generation::from_bits(1);
    let mut page = vec![0; 4096];
    page[..2048].fill_with(|| fastrand::u8(..));
    let time = |work: &mut dyn FnMut(u32)| {
        let began = Instant::now();
        (1..=PAGES).for_each(work);
        began.elapsed() / PAGES
    };
    let mut checksum = Checksum::default();
    let checked = time(&mut |_| checksum = checksum.update(ByteOrder::Little, black_box(&page)));
    let mut digest = Digest::default();
    let digested = time(&mut |number| {
        digest = digest.with(PageDigest::of(generation, number, black_box(&page)));
    });
    let mut encoder = lz4::Encoder::new(std::io::sink(), 4096 * u64::from(PAGES));
    let compressed = time(&mut |_| encoder.write_all(black_box(&page)).unwrap());
    black_box((checksum, digest));
    let all = checked + digested + compressed;
    println!("\nwork on a page of 4 KiB, half of it random");
    for (name, time) in [("checksum", checked), ("digest", digested), ("LZ4", compressed)] {
        let share = 100.0 * time.as_secs_f64() / all.as_secs_f64();
        println!("{name:8}  {:5} ns   {share:3.0} %", time.as_nanos());
    }
}
