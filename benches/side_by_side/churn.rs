//! How many bytes are stored for what an application writes.

use std::time::Duration;

use super::Bench;
use super::baseline;
use super::database::{Original, Writer};
use super::program::Program;
use super::site::{Place, Site};
use super::table::{mib, ratio};

const UPDATES_PER_SECOND: u32 = 200;

pub(crate) fn measure(bench: &mut Bench) {
    let original = Original::new(bench.settings.scaled(150));
    let watched = bench.settings.watched;
    let updates = UPDATES_PER_SECOND * u32::try_from(watched.as_secs()).unwrap();
    let (compressed, log) = necessary(&original, updates);
    let found = bench.compare("churn", |program| churn(program, &original, updates));
    let cell =
        |stored: &u64| format!("{}, {:.2} ×", mib(*stored), ratio(*stored, compressed + log));
    let property = format!(
        "stored after {} s of {UPDATES_PER_SECOND} updates/s on {} MiB",
        Duration::as_secs(&watched),
        original.mib
    );
    let necessary = format!("{} of LZ4 + {} of WAL", mib(compressed), mib(log));
    bench.row(&property, &found, cell, &format!("1.3 × ({necessary})"));
}

/// Bytes in the bucket at the end.
fn churn(program: &Program, original: &Original, updates: u32) -> u64 {
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(Place::S3, "1s");
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, Place::S3);
    Writer::new(&site.database()).update_steadily(updates, UPDATES_PER_SECOND);
    daemon.stop();
    site.objects(Place::S3).iter().map(|object| object.size).sum()
}

/// The bytes of the compressed database, and those that `updates` updates write to the log.
fn necessary(original: &Original, updates: u32) -> (u64, u64) {
    let site = Site::new();
    original.copy_to(&site.database());
    let compressed = baseline::encode(&site.database(), &site.path("database.lz4"));
    let mut writer = Writer::new(&site.database());
    writer.keep_log();
    writer.update(updates);
    (compressed, site.path("app.db-wal").metadata().unwrap().len())
}
