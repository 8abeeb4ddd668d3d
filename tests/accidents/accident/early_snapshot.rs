use std::thread;
use std::time::Duration;

use super::Accident;
use crate::contender::Contender;
use crate::it::support::{Background, Ledger};
use crate::outcome::Outcome;
use crate::scene::Scene;
use crate::settings::Settings;

const RESTORES: usize = 50;

pub(super) const ACCIDENT: Accident = Accident {
    name: "early_snapshot",
    title: "A snapshot is stored before the log that it needs",
    happen,
};

/// The machine is lost at any moment while snapshots of a busy database are made: what is in the
/// replica just then must suffice.
fn happen(contender: Contender) -> Outcome {
    let settings = Settings {
        checkpoint_pages: Some("20"),
        sync_interval: Some("500ms"),
        snapshot_interval: Some("100ms"),
        ..Settings::default()
    };
    let scene = Scene::with(contender, settings);
    let ledger = Ledger::open(&scene.database());
    ledger.step();
    let daemon = scene.replicate();
    let restores = || Ledger::examine(&scene.restore(&[]).output).is_ok();
    scene.wait_until(restores);
    let writer = Background::start(move |_| {
        ledger.step();
        thread::sleep(Duration::from_millis(1));
    });
    let is_good = |_: &usize| {
        let restored = scene.restore(&[]);
        restored.status == Some(0) && Ledger::examine(&restored.output).is_ok()
    };
    let good = (0..RESTORES).filter(is_good).count();
    writer.finish();
    scene.stop(daemon);
    Outcome::new(good == RESTORES, format!("{good} of {RESTORES} good"))
}
