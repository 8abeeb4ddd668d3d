//! A database that was restored since it was replicated last.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use tracing::info;

use super::cursor::Saved;
use super::durable::remove;
use super::lineage::Lineage;
use super::staging::Staging;
use super::state_directory::StateDirectory;
use crate::format::Key;
use crate::provenance::Provenance;
use crate::sqlite::FileIdentity;

/// Gives up what is known beside the database, if the database was restored from something else
/// since: the fork that it was replicated to, and how far it was captured. Done once for each
/// restore, before anything looks at the replicas.
///
/// If it was restored from the generation that was captured last, it is compared with that page by
/// page, as after any stop.
pub(super) fn take_up_restoration(
    database: &Path,
    state: &StateDirectory,
    staging: &[Staging],
) -> anyhow::Result<()> {
    let Some(found) = Restoration::of(database, state)? else { return Ok(()) };
    let noted = Restoration::noted(state)?;
    if noted == Some(found) {
        return Ok(());
    }
    let captured = Saved::load(&state.cursor())?.map(|saved| saved.cursor.generation);
    let is_new = !noted.is_some_and(|noted| noted.is_moved_to(&found));
    if is_new && captured != Some(found.from.generation()) {
        info!(db = %database.display(), from = %found.from, "database was restored");
        staging.iter().try_for_each(Staging::forget_fork)?;
        Lineage::load(state.lineage())?.end()?;
        remove(&state.cursor())?;
    }
    state.note_taken_up(&found.to_string())
}

/// Notes again which restore was taken up, if the database comes from one: the note was lost.
pub(super) fn note_again(database: &Path, state: &StateDirectory) -> anyhow::Result<()> {
    let found = Restoration::of(database, state)?;
    found.map_or(Ok(()), |found| state.note_taken_up(&found.to_string()))
}

/// A restore that was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Restoration {
    from: Key,
    /// The database file.
    file: FileIdentity,
    /// The directory of our state. `None`: an earlier version of this program wrote it, which did
    /// not record that.
    directory: Option<FileIdentity>,
}

impl Restoration {
    /// The restore that made the database as it is now.
    fn of(database: &Path, state: &StateDirectory) -> anyhow::Result<Option<Self>> {
        let Some(Provenance(from)) = Provenance::of(database) else { return Ok(None) };
        let file = FileIdentity::of(&fs::metadata(database)?);
        Ok(Some(Self { from, file, directory: Some(state.identity()) }))
    }

    /// The restore that was taken up last.
    fn noted(state: &StateDirectory) -> anyhow::Result<Option<Self>> {
        Ok(state.taken_up()?.and_then(|text| text.parse().ok()))
    }

    /// Whether `other` is the same restore, perhaps after a move to another disk together with the
    /// directory.
    fn is_moved_to(&self, other: &Self) -> bool {
        let is_moved = self.directory.is_some() && self.directory != other.directory;
        self.from == other.from && (self.file == other.file || is_moved)
    }
}

impl fmt::Display for Restoration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.from, self.file)?;
        self.directory.map_or(Ok(()), |directory| write!(f, " {directory}"))
    }
}

impl FromStr for Restoration {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut words = text.split(' ');
        let mut word = || words.next().context("it is cut off");
        let (from, file) = (word()?.parse()?, word()?.parse()?);
        Ok(Self { from, file, directory: word().ok().map(str::parse).transpose()? })
    }
}

/// The database was restored while it was followed, or waited for. It is to be followed anew: what
/// is known beside it has to be looked at first, as at the start.
#[derive(Debug)]
pub(super) struct RestoredMeanwhile;

impl fmt::Display for RestoredMeanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database was restored")
    }
}

impl std::error::Error for RestoredMeanwhile {}

/// Fails with [`RestoredMeanwhile`] if the database was restored and that was not taken up.
pub(super) fn expect_taken_up(database: &Path, state: &StateDirectory) -> anyhow::Result<()> {
    let Some(found) = Restoration::of(database, state)? else { return Ok(()) };
    match Restoration::noted(state)? {
        Some(noted) if (noted.from, noted.file) == (found.from, found.file) => Ok(()),
        _ => Err(RestoredMeanwhile.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restoration(text: &str) -> Restoration {
        let key = "generations/67c3797361749ad0/wal/00000001_00001038.wal.lz4";
        let restoration: Restoration = format!("{key} {text}").parse().unwrap();
        assert_eq!(restoration.to_string(), format!("{key} {text}"));
        restoration
    }

    #[test]
    fn is_the_same_after_a_move_with_all_that_is_beside_it() {
        for (before, now, expected) in [
            ("1@7 2@8", "1@7 2@8", true),
            ("1@7 2@8", "3@9 4@9", true),
            ("1@7 2@8", "3@9 2@8", false),
            ("1@7", "3@9 4@9", false),
            ("1@7", "1@7 4@9", true),
        ] {
            let is_moved = restoration(before).is_moved_to(&restoration(now));
            assert_eq!(is_moved, expected, "{before} {now}");
        }
        assert!("x".parse::<Restoration>().is_err());
    }
}
