use super::Accident;
use crate::contender::Contender;
use crate::outcome::Outcome;
use crate::scene::Scene;

pub(super) const ACCIDENT: Accident =
    Accident { name: "fresh_database", title: "A fresh database eclipses the real one", happen };

/// The store cannot be reached when the volume is new. The application makes an empty database,
/// which is replicated to where the real one is.
fn happen(contender: Contender) -> Outcome {
    let scene = Scene::new(contender);
    scene.replicate_once(100);
    scene.lose_volume();
    scene.write(3);
    let daemon = scene.replicate();
    let moment = || scene.histories().iter().any(|history| history.rows() == Some(3));
    let is_kept = scene.wait_until(moment);
    scene.stop(daemon);
    let restored = scene.restore(&[]).outcome(100);
    Outcome::new(restored.survived && is_kept, restored.text)
}
