use std::fmt;
use std::str::FromStr;

use super::{Generation, ParseError, WalIndex, WalPos};

/// The name of an object in a replica, below the replica's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The database as it was when WAL `index` began, or at some later moment of that WAL: it is
    /// consistent once that WAL has been replayed on it from its start.
    Snapshot { generation: Generation, index: WalIndex },
    /// A run of committed WAL frames that begins at `pos`. At offset 0, the WAL header comes first.
    Segment { generation: Generation, pos: WalPos },
}

impl Key {
    /// The prefix of all generations.
    pub const GENERATIONS: &'static str = "generations/";

    /// The prefix of the forks: replicas that are kept below a replica, for databases that do not
    /// descend from what it holds. Litestream does not look there.
    pub const FORKS: &'static str = "forks/";

    /// The root of the fork whose first generation is `generation`. A fork is a replica of its
    /// own.
    pub fn fork_root(generation: Generation) -> String {
        format!("forks/{generation}/")
    }

    /// The prefix of all objects of a generation.
    pub fn generation_prefix(generation: Generation) -> String {
        format!("generations/{generation}/")
    }

    /// The prefix of a generation's snapshots.
    pub fn snapshots_prefix(generation: Generation) -> String {
        format!("generations/{generation}/snapshots/")
    }

    /// The prefix of a generation's WAL segments.
    pub fn segments_prefix(generation: Generation) -> String {
        format!("generations/{generation}/wal/")
    }

    /// The prefix of the segments of one log.
    pub fn log_prefix(generation: Generation, index: WalIndex) -> String {
        format!("generations/{generation}/wal/{index}_")
    }

    /// The position at which the object's content begins.
    pub fn start(self) -> WalPos {
        match self {
            Self::Snapshot { index, .. } => WalPos::start_of(index),
            Self::Segment { pos, .. } => pos,
        }
    }

    pub fn generation(self) -> Generation {
        match self {
            Self::Snapshot { generation, .. } | Self::Segment { generation, .. } => generation,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot { generation, index } => {
                write!(f, "generations/{generation}/snapshots/{index}.snapshot.lz4")
            }
            Self::Segment { generation, pos } => {
                write!(f, "generations/{generation}/wal/{pos}.wal.lz4")
            }
        }
    }
}

impl FromStr for Key {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("the key of a snapshot or a WAL segment", text);
        let parts: Vec<&str> = text.split('/').collect();
        let &["generations", generation, kind, name] = parts.as_slice() else {
            return Err(error());
        };
        let generation = generation.parse()?;
        match (kind, name.split_once('.')) {
            ("snapshots", Some((index, "snapshot.lz4"))) => {
                Ok(Self::Snapshot { generation, index: index.parse()? })
            }
            ("wal", Some((pos, "wal.lz4"))) => Ok(Self::Segment { generation, pos: pos.parse()? }),
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_the_names_of_litestream() {
        for text in [
            "generations/67c3797361749ad0/snapshots/00000000.snapshot.lz4",
            "generations/67c3797361749ad0/wal/00000001_000060b0.wal.lz4",
        ] {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_near_misses() {
        for text in [
            "/generations/67c3797361749ad0/snapshots/00000000.snapshot.lz4",
            "generations/67C3797361749ad0/snapshots/00000000.snapshot.lz4",
            "generations/67c3797361749ad0/snapshots/+0000001.snapshot.lz4",
            "generations/67c3797361749ad0/snapshots/00000000.snapshot.lz4.tmp",
            "generations/67c3797361749ad0/wal/00000000.wal.lz4",
            "generations/67c3797361749ad0/snapshots/00000000_00000000.wal.lz4",
            "generations/67c3797361749ad0/wal/00000001_000060b0.wal.lz4/",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
