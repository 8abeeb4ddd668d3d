use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Invalid, Step};
use super::raw;
use super::reader::Reader;
use super::replica::Keys;
use crate::replicate::{
    Conflict, DatabaseOptions, DirectoryOptions, OnDivergence, Places, Reference, ReplicaOptions,
};
use crate::sqlite::state_directory;

const MONITOR_INTERVAL: Duration = Duration::from_secs(1);
const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(1);
const MIN_CHECKPOINT_PAGES: u32 = 1000;
const MAX_CHECKPOINT_PAGES: u32 = 10_000;

/// What an entry of `dbs` stands for.
pub(super) enum Entry {
    Database(DatabaseOptions),
    Directory(DirectoryOptions),
}

impl raw::Database {
    pub(super) fn validate(mut self, reader: &Reader, keys: &Keys) -> Result<Entry, Invalid> {
        let path = reader.path("path", self.path.take())?;
        let directory = reader.path("dir", self.dir.take())?;
        let state = reader.path("meta-path", self.meta_path.take())?;
        let pattern = reader.parsed("pattern", self.pattern.take(), parse_pattern)?;
        let recursive = reader.switch("recursive", self.recursive.take())?;
        let watch = reader.switch("watch", self.watch.take())?;
        match (path, directory) {
            (Some(_), Some(_)) => {
                Err(Invalid::new("dir", "a database has a `path` or a `dir`, not both"))
            }
            (None, None) => Err(Invalid::whole("a database without a `path`")),
            (Some(path), None) => {
                let others = [
                    ("pattern", pattern.is_some()),
                    ("recursive", recursive.is_some()),
                    ("watch", watch.is_some()),
                ];
                if let Some((key, _)) = others.iter().find(|(_, present)| *present) {
                    return Err(Invalid::new(key, format!("`{key}` is for a `dir`")));
                }
                if path.file_name().is_none() {
                    let message = format!("{} is not a database file", path.display());
                    return Err(Invalid::new("path", message));
                }
                let state = state.unwrap_or_else(|| state_directory(&path));
                self.options(reader, keys, path, state).map(Entry::Database)
            }
            (None, Some(path)) => {
                if state.is_some() {
                    let message = "each database of a `dir` has a directory of its own beside it";
                    return Err(Invalid::new("meta-path", message));
                }
                let missing = "a `dir` without a `pattern`, such as \"*.db\"";
                let pattern = pattern.ok_or_else(|| Invalid::whole(missing))?;
                Ok(Entry::Directory(DirectoryOptions {
                    template: self.options(reader, keys, path.clone(), path.clone())?,
                    path,
                    pattern,
                    recursive: recursive.unwrap_or(false),
                    watch: watch.unwrap_or(false),
                }))
            }
        }
    }

    fn options(
        self,
        reader: &Reader,
        keys: &Keys,
        path: PathBuf,
        state_directory: PathBuf,
    ) -> Result<DatabaseOptions, Invalid> {
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
            reference: Reference::default(),
        })
    }
}

/// Reads a pattern of file names, such as shells use.
fn parse_pattern(text: &str) -> Result<glob::Pattern, String> {
    glob::Pattern::new(text).map_err(|error| format!("{text:?} is no pattern: {error}"))
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

/// Refuses a database that shares a file, a directory or a replica with itself or an earlier one.
pub(super) fn claim(places: &mut Places, database: &DatabaseOptions) -> Result<(), Invalid> {
    places.claim(database).map_err(|conflict| {
        let message = conflict.to_string();
        match conflict {
            Conflict::Database(_) => Invalid::new("path", message),
            Conflict::State { .. } => Invalid::new("meta-path", message),
            Conflict::Replica { number, .. } => {
                Invalid::whole(message).inside(Step::Index(number)).inside(Step::Key("replicas"))
            }
        }
    })
}
