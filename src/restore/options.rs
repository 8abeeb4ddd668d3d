use std::path::PathBuf;
use std::time::SystemTime;

use crate::format::{Generation, Segment, Snapshot, WalIndex, WalPos};

/// How far to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Latest,
    /// The end of that WAL, or the latest before it.
    Index(WalIndex),
    /// The last object created at or before then. Later than all of them means latest.
    Timestamp(SystemTime),
    /// Exactly what is before that position of the one generation that is asked for.
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

    /// Whether a snapshot is not beyond the target.
    pub(super) fn includes_snapshot(self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Latest => true,
            Self::Index(last) => snapshot.index <= last,
            Self::Timestamp(time) => snapshot.created <= time,
            Self::Position(end) => WalPos::start_of(snapshot.index) <= end,
        }
    }

    /// Whether a segment is not beyond the target.
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
