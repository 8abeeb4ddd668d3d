use std::fs;

use super::Accident;
use crate::contender::Contender;
use crate::it::support::{open, settle};
use crate::outcome::Outcome;
use crate::scene::Scene;

pub(super) const ACCIDENT: Accident =
    Accident { name: "stale_log", title: "A stale log lies beside the restored file", happen };

/// A container is killed. Its volume keeps the log of SQLite, which is newer than the replica; the
/// next container removes only the database and restores.
fn happen(contender: Contender) -> Outcome {
    let scene = Scene::new(contender);
    scene.replicate_once(100);
    scene.write(200);
    settle(&scene.database());
    leave_a_log(&scene);
    fs::remove_file(scene.database()).unwrap();
    scene.restore_in_place().outcome(100)
}

/// Writes to the log only, and leaves it as a killed process does.
fn leave_a_log(scene: &Scene) {
    let connection = open(&scene.database());
    connection.execute_batch("INSERT INTO t (content) SELECT content FROM t").unwrap();
    // This drops the locks of the connection, which no other process needs.
    let files = ["wal", "shm"].map(|suffix| {
        let path = scene.path(&format!("volume/app.db-{suffix}"));
        (fs::read(&path).unwrap(), path)
    });
    drop(connection);
    for (content, path) in files {
        fs::write(path, content).unwrap();
    }
}
