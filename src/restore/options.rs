use std::path::PathBuf;
use std::time::SystemTime;

use crate::format::{Generation, Segment, Snapshot, WalIndex, WalPos};

/// How far to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Latest,
    /// The end of the WAL with this index, or the latest state before it.
    Index(WalIndex),
    /// The last object created at or before this time. A time after all objects means the latest.
    Timestamp(SystemTime),
    /// Exactly what is before this position of the requested generation.
    Position(WalPos),
}

impl Target {
    /// Where a restore must end, if that is known beforehand.
    pub(super) fn position(self) -> Option<WalPos> {
        match self {
            Self::Position(end) => Some(end),
            Self::Latest | Self::Index(_) | Self::Timestamp(_) => None,
        }
    }

    /// Whether a snapshot is not beyond this target.
    pub(super) fn includes_snapshot(self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Latest => true,
            Self::Index(last) => snapshot.index <= last,
            Self::Timestamp(time) => snapshot.created <= time,
            Self::Position(end) => WalPos::start_of(snapshot.index) <= end,
        }
    }

    /// Whether a segment is not beyond this target.
    pub(super) fn includes_segment(self, segment: &Segment) -> bool {
        match self {
            Self::Latest => true,
            Self::Index(last) => segment.pos.index <= last,
            Self::Timestamp(time) => segment.created <= time,
            Self::Position(end) => segment.pos < end,
        }
    }
}

/// What to restore, and where to.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The database file to be made, as an absolute path.
    pub output: PathBuf,
    /// Whether to replace an existing database, once the new one is complete.
    pub replace: bool,
    pub target: Target,
    /// The generation to restore, or `None` for the newest.
    pub generation: Option<Generation>,
    /// Requests at a time. Not 0.
    pub parallelism: usize,
}
