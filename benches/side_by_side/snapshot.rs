//! How long it takes until a database is safe for the first time.

use std::fs;

use super::Bench;
use super::baseline;
use super::database::Original;
use super::program::{Program, Run};
use super::site::{Place, Site};
use super::table::{mib, seconds};

pub(crate) fn measure(bench: &mut Bench) {
    let original = Original::new(bench.settings.mib);
    let property = format!("first snapshot of {} MiB to S3", original.mib);
    let found = bench.compare(&property, |program| snapshot(program, &original));
    let cell = |run: &Run| format!("{}, {}", seconds(run.time), mib(run.peak_memory));
    let target = bare(&original).unwrap_or_default();
    bench.row(&property, &found, cell, &target);
}

/// Until the object is there, and with the memory that the daemon took till then.
fn snapshot(program: &Program, original: &Original) -> Run {
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(Place::S3, "1s");
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, Place::S3);
    let run = Run { time: daemon.age(), peak_memory: daemon.peak_memory() };
    drop(daemon);
    run
}

/// What it takes to upload what was compressed before.
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
