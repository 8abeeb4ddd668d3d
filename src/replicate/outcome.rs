use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::tail::{Slot, Standing};

/// What replication came to when it ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How the application that ran as our child ended: its exit code, or 128 plus its signal.
    pub child: Option<i32>,
    /// A second signal cut the end short.
    pub interrupted: bool,
    /// The application is still running: what it commits is not on the replicas.
    pub abandoned: bool,
    /// What is not on every replica. Empty: every committed transaction is.
    pub unreplicated: Vec<Unreplicated>,
}

/// What one replica of a database lacks, or all of them.
#[derive(Clone, Debug)]
pub struct Unreplicated {
    pub database: PathBuf,
    what: Missing,
}

#[derive(Clone, Debug)]
enum Missing {
    /// The replica of that name has no snapshot, so nothing can be restored.
    Snapshot {
        replica: String,
        /// The last error of its store, or why nothing was captured, if that is known.
        error: Option<String>,
    },
    Segments {
        replica: String,
        count: usize,
        bytes: u64,
        since: SystemTime,
    },
    /// What was committed last was not captured.
    Rest(String),
    /// The database could not be read, so it is not known what was not captured.
    Unseen(String),
    /// The rest was not captured, for a reason that has nothing to do with the replica.
    Interrupted {
        replica: String,
        reason: String,
    },
    /// It is not known what the replica has.
    Unreached {
        replica: String,
        /// What its store said last, if that is known.
        error: Option<String>,
    },
    /// The database is not followed, for this reason.
    Everything(String),
    /// The replica was sent everything, and cannot be restored, as the last validation found.
    Restorability {
        replica: String,
        defect: String,
    },
}

/// What of a database was not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uncaptured {
    Nothing,
    LastTransactions,
    /// The database cannot be read.
    Unknown,
}

impl Unreplicated {
    /// What the replica of `slot` lacks, or `None` if it lacks nothing.
    ///
    /// `interruption` is why nothing more could be captured, if that is so, and `error` the last
    /// error of the store of the replica, if there is one.
    pub(super) fn of(
        database: &Path,
        slot: &Slot,
        uncaptured: Uncaptured,
        interruption: Option<&str>,
        error: impl FnOnce() -> Option<String>,
    ) -> Option<Self> {
        let staged = slot.staging.all().unwrap_or_default();
        let replica = slot.name.clone();
        let what = match staged.iter().map(|staged| staged.since).min() {
            _ if matches!(slot.standing, Standing::Outside | Standing::Joining) => {
                let error = error().or_else(|| interruption.map(str::to_owned));
                Missing::Snapshot { replica, error }
            }
            Some(since) => Missing::Segments {
                replica,
                count: staged.len(),
                bytes: staged.iter().map(|staged| staged.bytes).sum(),
                since,
            },
            None if let Some(reason) = interruption => {
                Missing::Interrupted { replica, reason: reason.to_owned() }
            }
            None if uncaptured == Uncaptured::Unknown => Missing::Unseen(replica),
            None if slot.standing == Standing::Unknown => {
                Missing::Unreached { replica, error: error() }
            }
            None if uncaptured == Uncaptured::Nothing && slot.standing == Standing::Inside => {
                return None;
            }
            None => Missing::Rest(replica),
        };
        Some(Self { database: database.to_owned(), what })
    }

    /// A database that was not captured to its end, for a reason that has nothing to do with the
    /// replica.
    pub(super) fn not_captured(database: &Path, slot: &Slot, reason: &str) -> Self {
        let what = Missing::Interrupted { replica: slot.name.clone(), reason: reason.to_owned() };
        Self { database: database.to_owned(), what }
    }

    /// A replica that was sent everything, and that validation could not restore.
    pub(super) fn not_restorable(database: &Path, slot: &Slot, defect: String) -> Self {
        let what = Missing::Restorability { replica: slot.name.clone(), defect };
        Self { database: database.to_owned(), what }
    }

    /// A database that is not followed at all.
    pub(super) fn not_followed(database: &Path, reason: String) -> Self {
        Self { database: database.to_owned(), what: Missing::Everything(reason) }
    }
}

impl fmt::Display for Unreplicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database.display();
        match &self.what {
            Missing::Snapshot { replica, error } => {
                let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                write!(
                    f,
                    "{database} is not on replica {replica}: its snapshot was not stored yet{error}"
                )
            }
            Missing::Segments { replica, count, bytes, since } => {
                let age = since.elapsed().unwrap_or_default().as_secs();
                let (s, are) = if *count == 1 { ("", "is") } else { ("s", "are") };
                write!(
                    f,
                    "{count} segment{s} ({bytes} bytes) of {database} {are} not on replica \
                     {replica}, the oldest for {age} s: kept beside the database and sent at the \
                     next start"
                )
            }
            Missing::Rest(replica) => write!(
                f,
                "{database} is still being written, and the last transactions are not on replica \
                 {replica}: they are in the database and sent at the next start; stop the \
                 application before the daemon"
            ),
            Missing::Unseen(replica) => write!(
                f,
                "{database} could not be read at the end: what was committed last may not be on \
                 replica {replica}; it is in the database and sent once that can be read again"
            ),
            Missing::Interrupted { replica, reason } => write!(
                f,
                "{database} could not be captured to its end: {reason}; what was committed last \
                 may not be on replica {replica}, and is sent once that is mended"
            ),
            Missing::Unreached { replica, error } => {
                let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                write!(
                    f,
                    "replica {replica} of {database} could not be reached, so that it is not known \
                     whether it has everything{error}"
                )
            }
            Missing::Restorability { replica, defect } => write!(
                f,
                "{database} could not be restored from replica {replica} when that was validated \
                 last: {defect}; see `litestream verify`"
            ),
            Missing::Everything(reason) => write!(f, "{database} is not replicated: {reason}"),
        }
    }
}
