//! A replica that has another name in the configuration than before.

use std::io;
use std::path::Path;

use tracing::info;

use super::options::ReplicaOptions;
use super::places::Place;
use super::staging::Staging;

/// Gives what is known of each replica, and what waits for it, the name that the replica has now:
/// it is known by its place. Otherwise the history that it holds would be taken for that of another
/// database, if something was sent last of which only the notes tell.
///
/// `state` is the state directory of the database of these replicas.
pub(super) fn take_up_names(state: &Path, replicas: &[ReplicaOptions]) -> io::Result<()> {
    for replica in replicas {
        let staging = Staging::new(state, &replica.name);
        let place = Place::of(replica).to_string();
        if !staging.exists()
            && let Some(former) = former(state, replicas, &place)?
        {
            staging.take_over(&former)?;
            info!(name = replica.name, before = former, "the replica was renamed");
        }
        staging.note_place(&place)?;
    }
    Ok(())
}

/// The name that no replica has any more, and that was of the one in that place.
fn former(state: &Path, replicas: &[ReplicaOptions], place: &str) -> io::Result<Option<String>> {
    for name in Staging::names(state)? {
        let is_free = replicas.iter().all(|replica| replica.name != name);
        if is_free && Staging::new(state, &name).place()?.as_deref() == Some(place) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
