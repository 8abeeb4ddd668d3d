//! How long commits take while the first snapshot is made.

use std::thread;
use std::time::{Duration, Instant};

use super::Bench;
use super::database::{Original, Writer};
use super::program::Program;
use super::server::Object;
use super::site::{Place, Site};
use super::table::{milliseconds, percentile};

/// How long the application writes without a daemon.
const ALONE: Duration = Duration::from_secs(3);

struct Stalls {
    /// Whether there was a snapshot in the time that was watched.
    snapshot: bool,
    /// The increase over the time without the daemon.
    added_p99: Duration,
    added_max: Duration,
    busy: u32,
}

pub(crate) fn measure(bench: &mut Bench) {
    let original = Original::new(bench.settings.mib);
    let watched = bench.settings.watched;
    let found = bench.compare("stalls", |program| stall(program, &original, watched));
    let property = "added commit latency, p99 / max, first snapshot running";
    let cell = |stalls: &Stalls| {
        let note = if stalls.snapshot { "" } else { ", no snapshot meanwhile" };
        let (p99, max) = (milliseconds(stalls.added_p99), milliseconds(stalls.added_max));
        format!("{p99} / {max}{note}")
    };
    bench.row(property, &found, cell, "2 ms / 20 ms");
    let busy = |stalls: &Stalls| stalls.busy.to_string();
    bench.row("SQLITE_BUSY after 100 ms, first snapshot running", &found, busy, "0");
}

/// Measures until the snapshot is stored, or until `watched` is over: a writer that never rests
/// can keep a daemon from its snapshot.
fn stall(program: &Program, original: &Original, watched: Duration) -> Stalls {
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(Place::S3, "1s");
    let mut writer = Writer::new(&site.database());
    let began = Instant::now();
    let mut without = Vec::new();
    writer.update_while(|time| {
        without.push(time);
        began.elapsed() < ALONE
    });

    let mut with = Vec::new();
    let daemon = site.replicate(program);
    let stored = || site.objects(Place::S3).iter().any(Object::is_snapshot);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !stored() && daemon.age() < watched {
                thread::sleep(Duration::from_millis(10));
            }
        });
        writer.update_while(|time| {
            with.push(time);
            !watch.is_finished()
        });
    });
    let snapshot = stored();
    drop(daemon);
    let mut added =
        |percent| percentile(&mut with, percent).saturating_sub(percentile(&mut without, percent));
    Stalls { snapshot, added_p99: added(99), added_max: added(100), busy: writer.busy }
}
