use std::path::PathBuf;
use std::{fmt, io};

use super::apply::ApplyError;
use super::plan_error::PlanError;
use crate::store::StoreError;

/// Why there is no restored database.
///
/// The first two begin with Litestream's texts, which scripts know.
#[derive(Debug)]
pub enum RestoreError {
    /// Every replica was listed, and there is no object in any of them.
    NoBackup,
    OutputExists(PathBuf),
    Other(anyhow::Error),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackup => write!(f, "no matching backups found"),
            Self::OutputExists(path) => {
                write!(f, "cannot restore, output path already exists: {}", path.display())?;
                if path.is_dir() {
                    return write!(f, "; it is a directory: name a file with -o PATH");
                }
                write!(
                    f,
                    "; -force replaces it, -o names another file, and -if-db-not-exists leaves it"
                )
            }
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for RestoreError {}

impl From<anyhow::Error> for RestoreError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Whether what is in the replica keeps it from being restored: an object is missing, or is not
/// what it should be. Otherwise the store did not answer, or something went wrong on this machine.
pub fn is_defect(error: &anyhow::Error) -> bool {
    let is_missing = |error: &PlanError| match error {
        PlanError::NoSnapshot(_)
        | PlanError::SnapshotLost { .. }
        | PlanError::SegmentMissing { .. }
        | PlanError::WalMissing { .. } => true,
        PlanError::NoBackup
        | PlanError::GenerationMissing(_)
        | PlanError::NoSnapshotAtOrBefore { .. } => false,
    };
    let is_wrong = |error: &ApplyError| match error {
        ApplyError::Object { cause, .. } => !is_outage(cause.as_ref()),
        ApplyError::Image(_) => false,
    };
    error.downcast_ref().is_some_and(is_missing) || error.downcast_ref().is_some_and(is_wrong)
}

/// Whether an object could not be read because the store did not give it.
fn is_outage(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let from_store = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let error = from_store.and_then(|error| error.downcast_ref());
    matches!(error, Some(StoreError::Unavailable(_) | StoreError::Rejected(_)))
}
