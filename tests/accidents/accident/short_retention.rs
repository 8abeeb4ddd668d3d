use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::Accident;
use crate::contender::Contender;
use crate::it::support::{PATIENCE, timestamp};
use crate::outcome::Outcome;
use crate::scene::Scene;
use crate::settings::Settings;

const RETENTION: Duration = Duration::from_secs(3);
/// How long history is written: several times the retention.
const WRITTEN: Duration = Duration::from_secs(9);

pub(super) const ACCIDENT: Accident = Accident {
    name: "short_retention",
    title: "Retention is as short as the snapshot interval",
    happen,
};

/// A number of rows, and a moment when they were in the replica.
struct Moment {
    rows: u32,
    time: SystemTime,
}

/// Every moment within the retention must be restored as it was.
fn happen(contender: Contender) -> Outcome {
    let interval = Some("3s");
    let settings =
        Settings { snapshot_interval: interval, retention: interval, ..Settings::default() };
    let scene = Scene::with(contender, settings);
    scene.write(1);
    let daemon = scene.replicate();
    scene.wait_for_rows(1);
    let (mut rows, mut moments) = (1, Vec::new());
    let end = SystemTime::now() + WRITTEN;
    while SystemTime::now() < end {
        rows += 1;
        if write_row(&scene) {
            // The clock for file times ticks only every few milliseconds.
            thread::sleep(Duration::from_millis(20));
            moments.push(Moment { rows, time: SystemTime::now() });
            thread::sleep(Duration::from_millis(20));
        }
    }
    // From here on nothing is deleted.
    daemon.kill();
    let begin = SystemTime::now() - RETENTION;
    moments.retain(|moment| moment.time > begin);
    let is_there = |moment: &&Moment| {
        scene.restore(&["-timestamp", &timestamp(moment.time)]).rows() == Some(moment.rows)
    };
    let good = moments.iter().filter(is_there).count();
    Outcome::new(good == moments.len(), format!("{good} of {} moments", moments.len()))
}

/// Writes a row. Returns whether it got into the replica.
fn write_row(scene: &Scene) -> bool {
    let known = segments(scene.replica());
    scene.write(1);
    // The others retry a failed upload only with the next row.
    let limit = match scene.contender {
        Contender::Ours => PATIENCE,
        Contender::Peer(_) => Duration::from_millis(300),
    };
    let began = Instant::now();
    while began.elapsed() < limit {
        if !segments(scene.replica()).is_subset(&known) {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

/// The smallest objects, each of which is due to one commit.
fn segments(replica: &Path) -> BTreeSet<PathBuf> {
    let mut directories = vec![replica.join("ltx/0")];
    for generation in fs::read_dir(replica.join("generations")).into_iter().flatten() {
        directories.push(generation.unwrap().path().join("wal"));
    }
    let entries = directories.iter().filter_map(|path| fs::read_dir(path).ok()).flatten();
    let is_whole =
        |path: &PathBuf| path.extension().is_some_and(|name| name == "lz4" || name == "ltx");
    entries.map(|entry| entry.unwrap().path()).filter(is_whole).collect()
}
