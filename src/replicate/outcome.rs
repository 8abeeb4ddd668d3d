use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::tail::{Slot, Standing};

/// What replication came to when it ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How the application ended that ran as our child: its exit code, or 128 and its signal.
    pub child: Option<i32>,
    /// A second signal cut the end short.
    pub interrupted: bool,
    /// What is not on every replica. Empty: every committed transaction is.
    pub unreplicated: Vec<Unreplicated>,
}

/// What a replica does not have.
#[derive(Clone, Debug)]
pub struct Unreplicated {
    pub database: PathBuf,
    pub replica: String,
    what: Missing,
}

#[derive(Clone, Debug)]
enum Missing {
    /// There is no snapshot, so nothing can be restored.
    Snapshot,
    Segments {
        count: usize,
        bytes: u64,
        since: SystemTime,
    },
    /// What was committed last was not captured.
    Rest,
}

impl Unreplicated {
    /// `idle`: there is nothing in the log that was not captured.
    pub(super) fn of(database: &Path, slot: &Slot, idle: bool) -> Option<Self> {
        let staged = slot.staging.all().unwrap_or_default();
        let what = match staged.iter().map(|staged| staged.since).min() {
            _ if matches!(slot.standing, Standing::Outside | Standing::Joining) => {
                Missing::Snapshot
            }
            Some(since) => Missing::Segments {
                count: staged.len(),
                bytes: staged.iter().map(|staged| staged.bytes).sum(),
                since,
            },
            None if idle && slot.standing == Standing::Inside => return None,
            None => Missing::Rest,
        };
        Some(Self { database: database.to_owned(), replica: slot.name.clone(), what })
    }
}

impl fmt::Display for Unreplicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (database, replica) = (self.database.display(), &self.replica);
        match &self.what {
            Missing::Snapshot => {
                write!(f, "{database} is not on replica {replica}: its snapshot was not stored yet")
            }
            Missing::Segments { count, bytes, since } => {
                let age = since.elapsed().unwrap_or_default().as_secs();
                write!(
                    f,
                    "{count} segments ({bytes} bytes) of {database} are not on replica {replica}, \
                     the oldest for {age} s: they are kept beside the database and sent at the \
                     next start"
                )
            }
            Missing::Rest => write!(
                f,
                "{database} is still being written, and the last transactions are not on replica \
                 {replica}: they are in the database and sent at the next start; stop the \
                 application before the daemon"
            ),
        }
    }
}
