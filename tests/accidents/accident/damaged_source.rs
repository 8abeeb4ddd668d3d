use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::Accident;
use crate::contender::Contender;
use crate::it::support::{Process, settle, timestamp};
use crate::outcome::Outcome;
use crate::restoration::Restoration;
use crate::scene::Scene;
use crate::settings::Settings;

const ROWS: u32 = 500;

/// How long the application goes on after the damage: longer than the retention, so that history
/// from before it expires unless it is protected.
const GOES_ON: Duration = Duration::from_secs(14);

pub(super) const ACCIDENT: Accident =
    Accident { name: "damaged_source", title: "A disk damages a page of the database", happen };

/// SQLite has no checksums of pages, and notices nothing until the page is read.
fn happen(contender: Contender) -> Outcome {
    let settings = Settings {
        snapshot_interval: Some("1s"),
        retention: Some("12s"),
        validation_interval: Some("1s"),
        ..Settings::default()
    };
    let scene = Scene::with(contender, settings);
    scene.write(ROWS);
    settle(&scene.database());
    let daemon = scene.replicate();
    scene.wait_for_rows(ROWS);
    // Time for two validations, for programs that do not report their results.
    thread::sleep(Duration::from_secs(2));
    let before = SystemTime::now();
    scene.wait_until(|| last_good(&scene, before).rows() == Some(ROWS));
    damage_a_page(&scene);
    let began = Instant::now();
    while began.elapsed() < GOES_ON || must_wait(contender, &daemon, began) {
        scene.write(1);
        thread::sleep(Duration::from_millis(100));
    }
    let noticed = notices(contender, &daemon);
    scene.stop(daemon);
    // The last good state may be later than that.
    let rows = last_good(&scene, before).rows();
    match (noticed, rows.is_some_and(|rows| rows >= ROWS)) {
        (true, true) => Outcome::survived("noticed, last good kept"),
        (true, false) => Outcome::lost("noticed, last good gone"),
        _ => Outcome::lost(scene.restore(&[]).describe(ROWS)),
    }
}

/// Our program must notice it, however slow the machine is.
fn must_wait(contender: Contender, daemon: &Process, began: Instant) -> bool {
    let minute = Duration::from_mins(1);
    contender == Contender::Ours && !notices(contender, daemon) && began.elapsed() < minute
}

fn notices(contender: Contender, daemon: &Process) -> bool {
    let words: &[&str] = match contender {
        Contender::Ours => &["damaged"],
        Contender::Peer(_) => &["damaged", "corrupt", "malformed", "mismatch"],
    };
    words.iter().any(|word| daemon.says(word))
}

/// The other programs do not record what was good, so they are given the time.
fn last_good(scene: &Scene, before: SystemTime) -> Restoration {
    match scene.contender {
        Contender::Ours => scene.restore(&["-last-verified"]),
        Contender::Peer(_) => scene.restore(&["-timestamp", &timestamp(before)]),
    }
}

/// Overwrites the beginning of a page of rows that is in the file, not in the log.
fn damage_a_page(scene: &Scene) {
    const PAGE: usize = 4096;
    const LEAF: u8 = 13;
    let content = fs::read(scene.database()).unwrap();
    let page = content.chunks(PAGE).skip(1).position(|page| page[0] == LEAF).unwrap() + 1;
    let file = File::options().write(true).open(scene.database()).unwrap();
    file.write_all_at(&[0xff; 100], u64::try_from(page * PAGE).unwrap()).unwrap();
}
