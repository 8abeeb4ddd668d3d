use std::fmt;

use super::Target;
use crate::format::{Generation, Key, Snapshot, WalIndex};
use crate::utc;

/// Why there is nothing to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// There is no object at all.
    NoBackup,
    GenerationMissing(Generation),
    /// There are segments, but nothing to apply them to.
    NoSnapshot(Generation),
    /// There is no snapshot in the newest generation, which is one of ours and so had one. An
    /// older generation is not silently used instead.
    SnapshotLost {
        generation: Generation,
        older: Option<Generation>,
    },
    /// The oldest snapshot is later than what was asked for.
    NoSnapshotAtOrBefore {
        target: Target,
        oldest: Snapshot,
    },
    /// The segment that comes before this one in its WAL is missing.
    SegmentMissing {
        before: Key,
    },
    WalMissing {
        generation: Generation,
        index: WalIndex,
    },
}

/// What can be done when something in the middle is missing.
pub(super) const BEFORE_THE_LOSS: &str =
    "restore what was before it with -timestamp, or from another replica with -replica";

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackup => write!(f, "no matching backups found"),
            Self::GenerationMissing(generation) => {
                write!(f, "no matching backups found: there is no generation {generation}")
            }
            Self::NoSnapshot(generation) => {
                write!(
                    f,
                    "generation {generation} has WAL segments but no snapshot: restore another one \
                     with -generation, or from another replica with -replica"
                )
            }
            Self::SnapshotLost { generation, older } => {
                write!(
                    f,
                    "the newest generation, {generation}, has no snapshot any more and cannot be \
                     restored"
                )?;
                match older {
                    Some(older) => write!(f, ". An older one can: `-generation {older}`"),
                    None => Ok(()),
                }
            }
            Self::NoSnapshotAtOrBefore { target: Target::Timestamp(time), oldest } => write!(
                f,
                "no snapshot at or before {}; the oldest is from {}",
                utc::milliseconds(*time),
                utc::milliseconds(oldest.created)
            ),
            Self::NoSnapshotAtOrBefore { target: Target::Index(index), oldest } => {
                write!(f, "no snapshot at or before index {index}; the oldest is {}", oldest.index)
            }
            Self::NoSnapshotAtOrBefore { target: Target::Position(end), oldest } => {
                write!(f, "no snapshot at or before {end}; the oldest is {}", oldest.index)
            }
            Self::NoSnapshotAtOrBefore { target: Target::Latest, .. } => write!(f, "no snapshot"),
            Self::SegmentMissing { before } => {
                write!(f, "a WAL segment is missing before {before}: {BEFORE_THE_LOSS}")
            }
            Self::WalMissing { generation, index } => {
                write!(
                    f,
                    "all segments of a WAL are missing, generations/{generation}/wal/{index}_*: \
                     {BEFORE_THE_LOSS}"
                )
            }
        }
    }
}

impl std::error::Error for PlanError {}
