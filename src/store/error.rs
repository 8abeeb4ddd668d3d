use std::{fmt, io};

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a request to a store failed, by what the caller can do about it.
#[derive(Debug)]
pub enum StoreError {
    /// There is no object under that key.
    NotFound { key: String },
    /// There already is an object under that key, though there must be none.
    Exists { key: String },
    /// Trying again will not help until somebody changes something: no such bucket, no permission.
    Rejected(anyhow::Error),
    /// Trying again may help: a time-out, a lost connection, a busy server, a full disk.
    Unavailable(anyhow::Error),
    /// What was to be stored could not be read.
    Source(io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { key } => write!(f, "there is no object {key}"),
            Self::Exists { key } => write!(f, "there is already an object {key}"),
            Self::Rejected(error) | Self::Unavailable(error) => write!(f, "{error:#}"),
            Self::Source(error) => write!(f, "cannot read what is to be stored: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}
