//! How long it takes until a database is first safe.

use std::fs;
use std::time::Duration;

use super::Bench;
use super::baseline;
use super::database::Original;
use super::program::Program;
use super::site::{Place, Site};
use super::table::{mib, seconds};

pub(crate) fn measure(bench: &mut Bench) {
    let original = Original::new(bench.settings.mib);
    let property = format!("first snapshot of {} MiB to S3", original.mib);
    let found = bench.compare(&property, |program| snapshot(program, &original));
    let cell = |first: &First| {
        let First { time, cpu, peak_memory } = *first;
        format!("{}, {} of CPU, {}", seconds(time), seconds(cpu), mib(peak_memory))
    };
    let target = bare(&original).unwrap_or_default();
    bench.row(&property, &found, cell, &target);
}

/// What it takes until the first snapshot is stored.
struct First {
    time: Duration,
    cpu: Duration,
    /// Bytes.
    peak_memory: u64,
}

fn snapshot(program: &Program, original: &Original) -> First {
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(Place::S3, "1s");
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, Place::S3);
    let (time, cpu, peak_memory) = (daemon.age(), daemon.cpu(), daemon.peak_memory());
    drop(daemon);
    First { time, cpu, peak_memory }
}

/// What it takes to upload an already compressed database.
fn bare(original: &Original) -> Option<String> {
    let site = Site::new();
    let (database, compressed) = (site.database(), site.path("database.lz4"));
    original.copy_to(&database);
    let size = baseline::encode(&database, &compressed);
    fs::remove_file(database).unwrap();
    let bare = baseline::upload(&compressed, &site.bucket)?;
    let target = seconds(bare.time * 5 / 3);
    Some(format!("{target}, 5/3 × {} ({}, {})", seconds(bare.time), bare.by, mib(size)))
}
