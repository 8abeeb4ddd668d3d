use std::thread;
use std::time::Duration;

use super::Accident;
use crate::contender::Contender;
use crate::it::support::{Background, Ledger};
use crate::outcome::Outcome;
use crate::scene::Scene;

const KILLS: u32 = 10;

pub(super) const ACCIDENT: Accident =
    Accident { name: "killed_daemon", title: "The daemon is killed again and again", happen };

fn happen(contender: Contender) -> Outcome {
    let scene = Scene::new(contender);
    let ledger = Ledger::open(&scene.database());
    let writer = Background::start(move |_| {
        ledger.step();
        thread::sleep(Duration::from_millis(2));
    });
    for _ in 0..KILLS {
        let daemon = scene.start(&["replicate"]);
        thread::sleep(Duration::from_millis(fastrand::u64(..400)));
        daemon.kill();
    }
    let moves = i64::try_from(writer.finish()).unwrap();
    let daemon = scene.replicate();
    let restored = || Ledger::examine(&scene.restore(&[]).output);
    scene.wait_until(|| restored() == Ok(moves));
    scene.stop(daemon);
    match restored() {
        Ok(found) if found == moves => Outcome::survived("all rows"),
        Ok(found) => Outcome::lost(format!("{found} of {moves} rows")),
        Err(_) => Outcome::lost(scene.restore(&[]).describe(0)),
    }
}
