//! How soon a single commit is safe.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Bench;
use super::database;
use super::program::{PATIENCE, Program};
use super::site::{Place, Site};
use super::table::{milliseconds, percentile};

pub(crate) fn measure(bench: &mut Bench) {
    let tries = bench.settings.tries * 2;
    let found = bench.compare("delay", |program| delays(program, tries));
    let cell = |delays: &Vec<Duration>| {
        let mut delays = delays.clone();
        let p50 = percentile(&mut delays, 50);
        format!("{} / {}", milliseconds(p50), milliseconds(percentile(&mut delays, 100)))
    };
    let property = format!("until a commit after a quiet second is on S3, p50 / max of {tries}");
    bench.row(&property, &found, cell, "30 ms");
}

fn delays(program: &Program, tries: u32) -> Vec<Duration> {
    let site = Site::new();
    let connection = database::connect(&site.database());
    site.configure(Place::S3, "1s");
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, Place::S3);
    let segments = || site.objects(Place::S3).iter().filter(|object| object.is_segment()).count();
    let delay = |_| {
        // A quiet second, and a random part of the next one.
        sleep(Duration::from_millis(fastrand::u64(1200..2200)));
        let before = segments();
        connection.execute("INSERT INTO commits (at) VALUES (0)", ()).unwrap();
        let committed = Instant::now();
        while segments() == before {
            assert!(committed.elapsed() < PATIENCE, "{} does not upload", program.name);
            sleep(Duration::from_millis(2));
        }
        committed.elapsed()
    };
    let delays = (0..tries).map(delay).collect();
    drop(daemon);
    delays
}
