//! A database that was restored since it was replicated last.

use std::fs::File;
use std::path::Path;

use tracing::info;

use super::cursor::Saved;
use super::durable::remove;
use super::lineage::Lineage;
use super::staging::Staging;
use super::state_directory::StateDirectory;
use crate::provenance::Provenance;
use crate::sqlite::identity;

/// Gives up what is known beside the database, if that was restored from something else since: the
/// fork that it was replicated to, and how far it was captured. Done once for each restore, before
/// anything looks at the replicas.
///
/// Restored from the generation that was captured last, it is compared with that page by page, as
/// after any stop.
pub(super) fn take_up_restoration(
    database: &Path,
    state: &StateDirectory,
    staging: &[Staging],
) -> anyhow::Result<()> {
    let Some(restored) = Provenance::of(database) else { return Ok(()) };
    let note = format!("{} {}", restored.0, identity(&File::open(database)?)?);
    if state.taken_up()?.as_ref() == Some(&note) {
        return Ok(());
    }
    let captured = Saved::load(&state.cursor())?.map(|saved| saved.cursor.generation);
    if captured != Some(restored.0.generation()) {
        info!(db = %database.display(), from = %restored.0, "database was restored");
        staging.iter().try_for_each(Staging::forget_fork)?;
        Lineage::load(state.lineage())?.end()?;
        remove(&state.cursor())?;
    }
    state.note_taken_up(&note)
}
