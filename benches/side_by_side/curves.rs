//! How the time and the memory of a restore from S3 grow, measured for the plots.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::Bench;
use super::database::{Original, Writer};
use super::plot::{Curve, Panel, drawing};
use super::program::{Process, Program, Run};
use super::site::{Place, Site};

const SEGMENTS_MAX: u32 = 4000;

/// A restore by each program, at one point of the axis.
struct Point {
    x: f64,
    runs: Vec<(&'static str, Option<Run>)>,
}

/// Writes `docs/restore.svg`.
pub(crate) fn draw(bench: &Bench) {
    let mib = bench.settings.mib;
    let sizes = [16, 8, 4, 2, 1].map(|part| (mib / part).max(1));
    let by_size = sizes.map(|mib| point(bench, &Original::new(mib), 1, Axis::Size));
    let most = bench.settings.scaled(SEGMENTS_MAX);
    let small = Original::new((mib / 8).max(1));
    let counts = [64, 16, 4, 1].map(|part| (most / part).max(1));
    let by_count = counts.map(|count| point(bench, &small, count, Axis::Segments));
    let small = format!("segments, on a database of {} MiB", small.mib);
    let panels = [
        panel("seconds", "size of the database, MiB", &by_size, time),
        panel("seconds", &small, &by_count, time),
        panel("MiB of memory", "size of the database, MiB", &by_size, memory),
        panel("MiB of memory", &small, &by_count, memory),
    ];
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::create_dir_all(&docs).unwrap();
    fs::write(docs.join("restore.svg"), drawing("restore from S3", &panels)).unwrap();
}

#[derive(Clone, Copy)]
enum Axis {
    Size,
    Segments,
}

/// Our program writes a replica, and all programs restore it.
fn point(bench: &Bench, original: &Original, segments: u32, axis: Axis) -> Point {
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(Place::S3, "10ms");
    let mut daemon = site.replicate(&bench.programs[0]);
    site.wait_for_snapshot(&mut daemon, Place::S3);
    let segments = write_segments(&site, &mut daemon, segments);
    daemon.stop();
    let what = format!("curve: {} MiB, {segments} segments", original.mib);
    let restore = |program: &Program| {
        let output = site.path("restored.db");
        let run = site.restore(program, &output).finish();
        fs::remove_file(output).unwrap();
        run
    };
    let runs = bench.compare(&what, restore);
    let x = match axis {
        Axis::Size => f64::from(original.mib),
        Axis::Segments => f64::from(segments),
    };
    let names = bench.programs.iter().map(|program| program.name);
    Point { x, runs: names.zip(runs).collect() }
}

/// Commits until there are `segments` segments, and returns how many there are.
fn write_segments(site: &Site, daemon: &mut Process, segments: u32) -> u32 {
    let mut writer = Writer::new(&site.database());
    let stored = || {
        let objects = site.objects(Place::S3);
        u32::try_from(objects.iter().filter(|object| object.is_segment()).count()).unwrap()
    };
    daemon.wait_until("segments", || {
        // Counting them takes longer than making one.
        for _ in 0..(segments.saturating_sub(stored())).clamp(1, 50) {
            writer.update(1);
            sleep(Duration::from_millis(15));
        }
        stored() >= segments
    });
    stored()
}

fn time(run: &Run) -> f64 {
    run.time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss)]
fn memory(run: &Run) -> f64 {
    run.peak_memory as f64 / f64::from(1 << 20)
}

fn panel(y: &str, x: &str, points: &[Point], value: fn(&Run) -> f64) -> Panel {
    let names = points[0].runs.iter().map(|(name, _)| *name);
    let curve = |(index, name): (usize, _)| {
        let at = |point: &Point| Some((point.x, value(point.runs[index].1.as_ref()?)));
        Curve { name, points: points.iter().filter_map(at).collect() }
    };
    Panel { x: x.to_owned(), y: y.to_owned(), curves: names.enumerate().map(curve).collect() }
}
