//! A database that was restored since it was replicated last.

use std::fmt;
use std::fs;
use std::path::Path;

use tracing::info;

use super::cursor::Saved;
use super::durable::remove;
use super::lineage::Lineage;
use super::staging::Staging;
use super::state_directory::StateDirectory;
use crate::format::Key;
use crate::provenance::Provenance;
use crate::sqlite::FileIdentity;

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
    let Some((restored, note)) = untaken(database, state)? else { return Ok(()) };
    let captured = Saved::load(&state.cursor())?.map(|saved| saved.cursor.generation);
    if captured != Some(restored.generation()) {
        info!(db = %database.display(), from = %restored, "database was restored");
        staging.iter().try_for_each(Staging::forget_fork)?;
        Lineage::load(state.lineage())?.end()?;
        remove(&state.cursor())?;
    }
    state.note_taken_up(&note)
}

/// Takes note of the restore of a database that is captured since, of which the note was lost.
pub(super) fn note_again(database: &Path, state: &StateDirectory) -> anyhow::Result<()> {
    untaken(database, state)?.map_or(Ok(()), |(_, note)| state.note_taken_up(&note))
}

/// The database was restored while it was followed, or waited for. What is known beside it is to be
/// looked at before it is gone on with, as at the start: it is to be followed anew.
#[derive(Debug)]
pub(super) struct RestoredMeanwhile;

impl fmt::Display for RestoredMeanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database was restored")
    }
}

impl std::error::Error for RestoredMeanwhile {}

/// Fails as [`RestoredMeanwhile`] if the database was restored since that was taken up.
pub(super) fn expect_taken_up(database: &Path, state: &StateDirectory) -> anyhow::Result<()> {
    match untaken(database, state)? {
        Some(_) => Err(RestoredMeanwhile.into()),
        None => Ok(()),
    }
}

/// From what the database was restored, and the note of that, unless it was taken already.
fn untaken(database: &Path, state: &StateDirectory) -> anyhow::Result<Option<(Key, String)>> {
    let Some(Provenance(restored)) = Provenance::of(database) else { return Ok(None) };
    let note = format!("{restored} {}", FileIdentity::of(&fs::metadata(database)?));
    Ok((state.taken_up()?.as_ref() != Some(&note)).then_some((restored, note)))
}
