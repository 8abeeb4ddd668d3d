use std::fs;

use rustix::process::Signal;

use super::Accident;
use crate::contender::Contender;
use crate::it::support::settle;
use crate::outcome::Outcome;
use crate::scene::Scene;

pub(super) const ACCIDENT: Accident =
    Accident { name: "replaced_file", title: "The application replaces the file", happen };

/// Another database is moved over the one that a daemon follows, and then written.
fn happen(contender: Contender) -> Outcome {
    let scene = Scene::new(contender);
    scene.write(100);
    let daemon = scene.replicate();
    scene.wait_for_rows(100);
    let other = Scene::new(contender);
    other.write(30);
    settle(&other.database());
    let incoming = scene.path("volume/incoming.db");
    fs::copy(other.database(), &incoming).unwrap();

    // The daemon must not make a log for the old file in between, which would become that of the
    // new one.
    daemon.pause();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", scene.database().display()));
    }
    fs::rename(&incoming, scene.database()).unwrap();
    daemon.signal(Signal::CONT);
    scene.write(10);

    let has = |rows: u32| scene.histories().iter().any(|history| history.rows() == Some(rows));
    scene.wait_until(|| has(40));
    scene.stop(daemon);
    match (has(100), has(40)) {
        (true, true) => Outcome::survived("both databases"),
        (true, false) => Outcome::lost("only the old one"),
        (false, true) => Outcome::lost("only the new one"),
        (false, false) => Outcome::lost(scene.restore(&[]).describe(40)),
    }
}
