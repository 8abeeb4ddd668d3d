use std::path::PathBuf;
use std::time::Duration;

use crate::store::Location;

/// What to replicate, where to, and how often. Every value is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseOptions {
    /// Absolute.
    pub path: PathBuf,
    /// The directory for our own state, normally `.NAME-litestream` beside the database.
    pub state_directory: PathBuf,
    /// How often the WAL is looked at where the kernel does not notify us of changes. Not 0.
    pub monitor_interval: Duration,
    /// How old frames in the WAL get before they are checkpointed. 0: only their number counts.
    pub checkpoint_interval: Duration,
    /// The number of pages in the WAL from which on a checkpoint is tried. Not 0.
    pub min_checkpoint_pages: u32,
    /// The number of pages in the WAL from which on a checkpoint is tried without pauses. 0: never.
    pub max_checkpoint_pages: u32,
    pub on_divergence: OnDivergence,
    pub replicas: Vec<ReplicaOptions>,
    pub reference: Reference,
}

/// How a command is told which database it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reference {
    /// By its path: the configuration is where commands look for it.
    #[default]
    ByPath,
    /// By its path in this configuration.
    InConfig(PathBuf),
    /// By the URL of a replica: there is no configuration.
    ByUrl,
}

impl DatabaseOptions {
    /// The arguments by which `restore` puts a replica in the place of the database.
    pub fn restore_arguments(&self, replica: &ReplicaOptions) -> String {
        let path = self.path.display();
        let replica_option = match self.replicas.len() {
            1 => String::new(),
            _ => format!("-replica {} ", replica.name),
        };
        match &self.reference {
            Reference::ByPath => format!("{replica_option}{path}"),
            Reference::InConfig(config) => {
                format!("-config {} {replica_option}{path}", config.display())
            }
            Reference::ByUrl => format!("-o {path} {}", replica.location),
        }
    }
}

/// What to do when a replica holds a history that the database does not continue: that of a
/// database that was there before, of a newer copy of it, or of another one altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDivergence {
    /// Leave the replica as it is, and replicate to a place of its own below it.
    #[default]
    Fork,
    /// Begin a generation in the replica. From then on it is what restores get, and what was there
    /// before expires after the retention.
    Continue,
    /// End with an error.
    Stop,
}

/// One copy of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaOptions {
    /// Unique among the replicas of a database.
    pub name: String,
    pub location: Location,
    /// How often committed transactions are sent. Not 0.
    pub sync_interval: Duration,
    /// How long history is kept. 0: for ever.
    pub retention: Duration,
    /// How often expired history is looked for. Not 0.
    pub retention_check_interval: Duration,
    /// How often a snapshot is taken. 0: only when retention needs one.
    pub snapshot_interval: Duration,
    /// How often the replica is restored and compared. 0: never.
    pub validation_interval: Duration,
}
