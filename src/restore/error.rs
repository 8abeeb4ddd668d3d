use std::fmt;
use std::path::PathBuf;

/// Why there is no restored database.
///
/// The texts of the first two are Litestream's, which scripts know.
#[derive(Debug)]
pub enum RestoreError {
    /// Every replica was read, and there is no object in any of them.
    NoBackup,
    OutputExists(PathBuf),
    Other(anyhow::Error),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackup => write!(f, "no matching backups found"),
            Self::OutputExists(path) => {
                write!(f, "cannot restore, output path already exists: {}", path.display())
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
