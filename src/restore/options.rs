use std::path::PathBuf;
use std::time::SystemTime;

use crate::format::{Generation, WalIndex};

/// How far to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Latest,
    /// The end of that WAL, or the latest before it.
    Index(WalIndex),
    /// The last object created at or before then. Later than all of them means latest.
    Timestamp(SystemTime),
}

impl Target {
    /// Whether an object at that index, stored at that time, is not beyond the target.
    pub(super) fn includes(self, index: WalIndex, created: SystemTime) -> bool {
        match self {
            Self::Latest => true,
            Self::Index(last) => index <= last,
            Self::Timestamp(time) => created <= time,
        }
    }
}

/// What to restore, and where to.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The database file to be made. Absolute.
    pub output: PathBuf,
    /// Take the place of a database that is there already, once the new one is complete.
    pub replace: bool,
    pub target: Target,
    /// `None`: the newest.
    pub generation: Option<Generation>,
    /// Requests at a time. Not 0.
    pub parallelism: usize,
}
