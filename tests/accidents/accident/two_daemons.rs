use std::thread;
use std::time::Duration;

use super::Accident;
use crate::contender::Contender;
use crate::outcome::Outcome;
use crate::scene::Scene;

pub(super) const ACCIDENT: Accident =
    Accident { name: "two_daemons", title: "Two daemons write to one replica", happen };

/// A forgotten container goes on, while its successor has restored the database and replicates to
/// the same place.
fn happen(contender: Contender) -> Outcome {
    let old = Scene::new(contender);
    old.write(100);
    let old_daemon = old.replicate();
    old.wait_for_rows(100);
    let new = Scene::beside(&old);
    assert_eq!(new.restore_in_place().rows(), Some(100));
    let new_daemon = new.replicate();
    for _ in 0..10 {
        old.write(1);
        new.write(2);
        thread::sleep(Duration::from_millis(100));
    }
    let has = |rows: u32| old.histories().iter().any(|history| history.rows() == Some(rows));
    old.wait_until(|| has(110) && has(120));
    old.stop(old_daemon);
    new.stop(new_daemon);
    match (has(110), has(120)) {
        (true, true) => Outcome::survived("both databases"),
        (false, false) => Outcome::lost(old.restore(&[]).describe(120)),
        _ => Outcome::lost("one of the databases"),
    }
}
