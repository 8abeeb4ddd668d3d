//! Replicas whose names in the configuration have changed.

use std::io;
use std::path::Path;

use tracing::info;

use super::options::ReplicaOptions;
use super::places::Place;
use super::staging::Staging;

/// Moves what is known of each replica, and what waits for it, to the name that the replica has
/// now: it is recognized by its place.
///
/// Otherwise what was sent last, if only the notes tell of it, would be taken for the history of
/// another database.
///
/// `state` is the state directory of the database of these replicas. A process that dies in between
/// leaves everything under some name, and the next one goes on.
pub(super) fn take_up_names(state: &Path, replicas: &[ReplicaOptions]) -> io::Result<()> {
    let places = replicas.iter().map(|replica| Place::of(replica).to_string());
    let places: Vec<String> = places.collect();
    for (replica, place) in replicas.iter().zip(&places) {
        let staging = Staging::new(state, &replica.name);
        if staging.place()?.as_deref() == Some(place) {
            continue;
        }
        if let Some(former) = Staging::at_place(state, place)? {
            // What is under this name belongs to a replica that has another name now, or is gone.
            staging.set_aside()?;
            staging.take_over(&former)?;
            info!(name = replica.name, "the replica was renamed");
        } else if staging.place()?.is_some_and(|noted| places.contains(&noted)) {
            staging.set_aside()?;
        }
        staging.note_place(place)?;
    }
    Ok(())
}
