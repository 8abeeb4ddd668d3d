use std::fmt;
use std::path::PathBuf;

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
