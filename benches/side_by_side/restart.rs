//! What is uploaded again when a daemon comes back.

use std::collections::BTreeSet;

use super::Bench;
use super::database::{Original, Writer};
use super::program::Program;
use super::server::Object;
use super::site::{Place, Site};
use super::table::{mib, ratio};

/// How many rows are changed while the daemon is away, each on another page.
const LIGHTLY: u32 = 100;

struct Restart {
    /// Bytes.
    uploaded: u64,
    /// Bytes that were stored by the first start.
    before: u64,
}

pub(crate) fn measure(bench: &mut Bench) {
    let original = Original::new(bench.settings.scaled(256));
    let large = original.mib;
    for (name, updates) in [("an unchanged", 0), ("a lightly changed", LIGHTLY)] {
        let property = format!("uploaded by a restart on {name} database of {large} MiB");
        let found = bench.compare(&property, |program| restart(program, &original, updates));
        let cell = |Restart { uploaded, before }: &Restart| {
            format!("{}, {:.1} %", mib(*uploaded), 100.0 * ratio(*uploaded, *before))
        };
        bench.row(&property, &found, cell, "less than 1 %");
    }
}

/// The application stops after the daemon, and starts before it, as when a machine is updated.
fn restart(program: &Program, original: &Original, updates: u32) -> Restart {
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(Place::S3, "1s");
    let application = Writer::new(&site.database());
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, Place::S3);
    daemon.wait_until_quiet();
    daemon.stop();
    drop(application);

    let before: BTreeSet<Object> = site.objects(Place::S3).into_iter().collect();
    let mut application = Writer::new(&site.database());
    application.update(updates);
    let daemon = site.replicate(program);
    daemon.wait_until_quiet();
    daemon.stop();
    let after = site.objects(Place::S3);
    let new = after.iter().filter(|object| !before.contains(object));
    Restart { uploaded: new.map(|object| object.size).sum(), before: sum(before.iter()) }
}

fn sum<'a>(objects: impl Iterator<Item = &'a Object>) -> u64 {
    objects.map(|object| object.size).sum()
}
