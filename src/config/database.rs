use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Invalid, Step};
use super::reader::Reader;
use super::replica::Keys;
use super::{raw, replica};
use crate::replicate::{DatabaseOptions, OnDivergence, ReplicaOptions};

const MONITOR_INTERVAL: Duration = Duration::from_secs(1);
const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(1);
const MIN_CHECKPOINT_PAGES: u32 = 1000;
const MAX_CHECKPOINT_PAGES: u32 = 10_000;

impl raw::Database {
    pub(super) fn validate(self, reader: &Reader, keys: &Keys) -> Result<DatabaseOptions, Invalid> {
        let path = reader.path("path", self.path)?;
        let path = path.ok_or_else(|| Invalid::whole("a database without a `path`"))?;
        let state_directory = match reader.path("meta-path", self.meta_path)? {
            Some(directory) => directory,
            None => beside(&path)?,
        };
        let min_checkpoint_pages = reader.count(
            "min-checkpoint-page-count",
            self.min_checkpoint_page_count,
            MIN_CHECKPOINT_PAGES,
        )?;
        if min_checkpoint_pages == 0 {
            let message = "minimum checkpoint page count required: it must be at least 1";
            return Err(Invalid::new("min-checkpoint-page-count", message));
        }
        Ok(DatabaseOptions {
            replicas: validate_replicas(self.replicas.unwrap_or_default(), reader, keys)?,
            state_directory,
            monitor_interval: reader.interval(
                "monitor-interval",
                self.monitor_interval,
                MONITOR_INTERVAL,
            )?,
            checkpoint_interval: reader.duration(
                "checkpoint-interval",
                self.checkpoint_interval,
                CHECKPOINT_INTERVAL,
            )?,
            on_divergence: reader
                .parsed("on-divergence", self.on_divergence, parse_on_divergence)?
                .unwrap_or_default(),
            min_checkpoint_pages,
            max_checkpoint_pages: reader.count(
                "max-checkpoint-page-count",
                self.max_checkpoint_page_count,
                MAX_CHECKPOINT_PAGES,
            )?,
            path,
        })
    }
}

/// Reads a policy by its name.
pub fn parse_on_divergence(text: &str) -> Result<OnDivergence, String> {
    match text {
        "fork" => Ok(OnDivergence::Fork),
        "continue" => Ok(OnDivergence::Continue),
        "stop" => Ok(OnDivergence::Stop),
        _ => Err(format!("{text:?} is neither \"fork\" nor \"continue\" nor \"stop\"")),
    }
}

/// The directory that Litestream uses for the database at `path`.
fn beside(path: &Path) -> Result<PathBuf, Invalid> {
    let Some(name) = path.file_name() else {
        return Err(Invalid::new("path", format!("{} is not a database file", path.display())));
    };
    let mut directory = std::ffi::OsString::from(".");
    directory.push(name);
    directory.push("-litestream");
    Ok(path.with_file_name(directory))
}

fn validate_replicas(
    raw: Vec<raw::Replica>,
    reader: &Reader,
    keys: &Keys,
) -> Result<Vec<ReplicaOptions>, Invalid> {
    if raw.is_empty() {
        let message = "a database without replicas; add a list of `replicas` to it";
        return Err(Invalid::whole(message));
    }
    let mut names = HashSet::new();
    let mut replicas = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let inside =
            |error: Invalid| error.inside(Step::Index(index)).inside(Step::Key("replicas"));
        let replica = raw.validate(reader, keys).map_err(inside)?;
        if !names.insert(replica.name.clone()) {
            let name = &replica.name;
            let message = format!("duplicate replica name: {name:?}; give each its own `name`");
            return Err(inside(Invalid::new("name", message)));
        }
        replicas.push(replica);
    }
    Ok(replicas)
}

/// Refuses a database that shares a file, a directory or a replica with itself or an earlier one:
/// two writers in one place destroy what each of them keeps there.
pub(super) fn check_apart(
    earlier: &[DatabaseOptions],
    database: &DatabaseOptions,
) -> Result<(), Invalid> {
    if earlier.iter().any(|other| other.path == database.path) {
        let message = format!("duplicate database path: {}", database.path.display());
        return Err(Invalid::new("path", message));
    }
    if let Some(other) =
        earlier.iter().find(|other| other.state_directory == database.state_directory)
    {
        let directory = database.state_directory.display();
        let message = format!("{directory} is already used for {}", other.path.display());
        return Err(Invalid::new("meta-path", message));
    }
    for (index, replica) in database.replicas.iter().enumerate() {
        let before = database.replicas[..index].iter().map(|other| (database, other));
        let mut others = earlier
            .iter()
            .flat_map(|database| database.replicas.iter().map(move |replica| (database, replica)))
            .chain(before);
        let same =
            others.find(|(_, other)| replica::same_place(&replica.location, &other.location));
        if let Some((owner, other)) = same {
            let owner = owner.path.display();
            let message = format!("replica {:?} of {owner} is kept in the same place", other.name);
            return Err(Invalid::whole(message)
                .inside(Step::Index(index))
                .inside(Step::Key("replicas")));
        }
    }
    Ok(())
}
