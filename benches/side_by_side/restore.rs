//! How long a restore of a lost database takes, and how much memory.

use std::fs;

use super::Bench;
use super::baseline::{self, Baseline};
use super::database::{Original, Writer, count};
use super::program::{Program, Run};
use super::site::{Place, Site};
use super::table::{mib, seconds};

const RESTORES: u32 = 3;
const UPDATES_PER_SECOND: u32 = 2000;

struct Restore {
    /// The best time of several, and the most memory of all.
    run: Run,
    /// The baseline for the snapshot alone, for our program.
    baseline: Option<Baseline>,
    missing: u32,
}

pub(crate) fn measure(bench: &mut Bench) {
    let original = Original::new(bench.settings.mib);
    let updates = bench.settings.scaled(40_000);
    for (place, name) in [(Place::S3, "S3"), (Place::Directory, "a directory")] {
        let property = format!("restore of {} MiB and {updates} updates from {name}", original.mib);
        let found = bench.compare(&property, |program| restore(program, place, &original, updates));
        let cell = |Restore { run, missing, .. }: &Restore| {
            let missing = match missing {
                0 => String::new(),
                missing => format!(", {missing} updates missing"),
            };
            format!("{}, {}{missing}", seconds(run.time), mib(run.peak_memory))
        };
        let baseline = found.iter().flatten().find_map(|found| found.baseline);
        let target = baseline.map_or(String::new(), |Baseline { time, by }| match place {
            Place::S3 => format!("{} ({by})", seconds(time)),
            Place::Directory => {
                format!("{}, 1.3 × {} ({by})", seconds(time * 13 / 10), seconds(time))
            }
        });
        bench.row(&property, &found, cell, &target);
    }
}

/// Measures restores. Each program restores what it has written itself.
fn restore(program: &Program, place: Place, original: &Original, updates: u32) -> Restore {
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(place, "1s");
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, place);
    Writer::new(&site.database()).update_steadily(updates, UPDATES_PER_SECOND);
    daemon.stop();
    let (rows, updated) = count(&site.database());

    let mut best: Option<Run> = None;
    let mut baseline: Option<Baseline> = None;
    let mut missing = 0;
    let output = site.path("restored.db");
    for _ in 0..RESTORES {
        if program.is_this() {
            let now = bare(&site, place);
            baseline = Some(baseline.filter(|before| before.time < now.time).unwrap_or(now));
        }
        let run = site.restore(program, &output).finish();
        let (restored_rows, restored_updates) = count(&output);
        assert_eq!(restored_rows, rows);
        missing = updated - restored_updates;
        fs::remove_file(&output).unwrap();
        best = Some(best.map_or(run, |best| Run {
            time: best.time.min(run.time),
            peak_memory: best.peak_memory.max(run.peak_memory),
        }));
    }
    Restore { run: best.unwrap(), baseline, missing }
}

/// Writes the database of the snapshot, without the updates.
fn bare(site: &Site, place: Place) -> Baseline {
    let output = site.path("bare.db");
    let objects = site.objects(place);
    let snapshot = &objects.iter().find(|object| object.is_snapshot()).unwrap().key;
    let baseline = match place {
        Place::S3 => baseline::download(&site.bucket, snapshot, &output),
        Place::Directory => baseline::decode(&site.path("replica").join(snapshot), &output),
    };
    // If the first part of a pipe has failed, the output is too short.
    assert!(fs::metadata(&output).unwrap().len() > 4096);
    fs::remove_file(&output).unwrap();
    baseline
}
