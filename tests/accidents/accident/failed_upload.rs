use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::Accident;
use crate::contender::Contender;
use crate::outcome::Outcome;
use crate::scene::Scene;

pub(super) const ACCIDENT: Accident = Accident {
    name: "failed_upload",
    title: "An upload fails, and nothing is written after it",
    happen,
};

/// The directory of the replica is a symbolic link, which can be redirected in one step.
fn happen(contender: Contender) -> Outcome {
    let scene = Scene::new(contender);
    let (objects, no_directory) = (scene.path("objects"), scene.path("no directory"));
    fs::create_dir(&objects).unwrap();
    fs::write(&no_directory, "").unwrap();
    turn(&scene, &objects);

    scene.write(60);
    let daemon = scene.replicate();
    scene.wait_for_rows(60);
    turn(&scene, &no_directory);
    scene.write(40);
    thread::sleep(Duration::from_secs(2));
    turn(&scene, &objects);
    scene.wait_for_rows(100);
    // The machine is lost: the daemon cannot send anything more.
    daemon.kill();
    scene.restore(&[]).outcome(100)
}

fn turn(scene: &Scene, target: &Path) {
    let link = scene.fresh("link");
    symlink(target, &link).unwrap();
    fs::rename(link, scene.replica()).unwrap();
}
