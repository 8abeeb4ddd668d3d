//! Finds the replicas that a command is about.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::arguments::{ConfigArguments, SourceArguments};
use super::forks;
use crate::catalog::{self, LATER_FORMAT};
use crate::config::{self, Config, LoggingOptions};
use crate::format::{Generation, Key};
use crate::replicate::{DatabaseOptions, Sources};
use crate::store::{Location, Retrying, Store};

/// A database or a replica, as it was named on the command line.
pub(super) struct Source {
    /// The database, unless a replica was named by its URL.
    pub(super) database: Option<PathBuf>,
    /// The state directory of the database.
    pub(super) state_directory: Option<PathBuf>,
    /// The names and locations of the replicas.
    pub(super) replicas: Vec<(String, Location)>,
    pub(super) logging: LoggingOptions,
}

impl Source {
    /// Finds out what the arguments name.
    pub(super) async fn find(arguments: &SourceArguments) -> anyhow::Result<Self> {
        let SourceArguments { name, config, replica, fork } = arguments;
        let Some(text) = name.as_deref().filter(|text| !text.is_empty()) else {
            bail!("database path or replica URL required");
        };
        let source = Self::at(text, config, replica.as_deref())?;
        match fork {
            Some(fork) => source.fork(*fork).await,
            None => Ok(source),
        }
    }

    /// Finds what `text` names. `replica` restricts it to the replica of that name.
    fn at(text: &str, config: &ConfigArguments, replica: Option<&str>) -> anyhow::Result<Self> {
        if is_url(text) {
            if config.config.is_some() {
                bail!("cannot specify a replica URL and the -config flag");
            }
            if replica.is_some() {
                bail!("cannot specify a replica URL and the -replica flag");
            }
            return Self::at_url(text);
        }
        let path = config::absolute(text).map_err(anyhow::Error::msg)?;
        let config = load(config)?;
        let Some(database) = config.database(&path) else {
            bail!("database not found in config: {}{}", path.display(), known(&config));
        };
        let source = Self::of_database(&database, replica, config.logging);
        if let (Some(name), []) = (replica, source.replicas.as_slice()) {
            let names: Vec<&str> =
                database.replicas.iter().map(|replica| replica.name.as_str()).collect();
            bail!(
                "replica {name:?} not found for database {:?}; it has {}",
                path.display().to_string(),
                names.join(", ")
            );
        }
        Ok(source)
    }

    /// The databases that have the replica of that name. It is an error if there are none.
    pub(super) fn all(
        databases: &[DatabaseOptions],
        replica: Option<&str>,
        logging: LoggingOptions,
    ) -> anyhow::Result<Vec<Self>> {
        let sources =
            databases.iter().map(|database| Self::of_database(database, replica, logging));
        let sources: Vec<Self> = sources.filter(|source| !source.replicas.is_empty()).collect();
        if let (Some(name), []) = (replica, sources.as_slice()) {
            bail!("replica {name:?} not found in config");
        }
        Ok(sources)
    }

    fn of_database(
        database: &DatabaseOptions,
        replica: Option<&str>,
        logging: LoggingOptions,
    ) -> Self {
        let named = |name: &str| replica.is_none_or(|wanted| name == wanted);
        let replicas = database.replicas.iter().filter(|replica| named(&replica.name));
        let replicas =
            replicas.map(|replica| (replica.name.clone(), replica.location.clone())).collect();
        Self {
            database: Some(database.path.clone()),
            state_directory: Some(database.state_directory.clone()),
            replicas,
            logging,
        }
    }

    fn at_url(url: &str) -> anyhow::Result<Self> {
        let location = Location::parse_url(url).map_err(|error| anyhow::anyhow!("{error}"))?;
        let replicas = vec![(location.kind().to_owned(), location)];
        Ok(Self {
            database: None,
            state_directory: None,
            replicas,
            logging: LoggingOptions::default(),
        })
    }

    /// Replaces each replica by its fork. Leaves out replicas without that fork, but not those
    /// that cannot be listed, since they may have it.
    async fn fork(mut self, fork: Generation) -> anyhow::Result<Self> {
        let (mut replicas, mut others) = (Vec::new(), BTreeSet::new());
        for (name, location) in self.replicas {
            let found = match Store::open(&location).await {
                Ok(store) => catalog::forks(&store).await.ok(),
                Err(_) => None,
            };
            match found {
                Some(forks) if !forks.contains(&fork) => others.extend(forks),
                _ => replicas.push((name, location.below(&Key::fork_root(fork)))),
            }
        }
        if replicas.is_empty() {
            let others: Vec<String> = others.iter().map(Generation::to_string).collect();
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            bail!("there is no fork {fork}; forks that there are: {others}");
        }
        self.replicas = replicas;
        Ok(self)
    }

    /// Warns of the forks that there are.
    pub(super) async fn mention_forks(&self) {
        for (name, location) in &self.replicas {
            if let Ok(store) = Store::open(location).await {
                forks::mention(name, &store).await;
            }
        }
    }

    /// Fails if a replica that seems empty holds a backup of Litestream 0.5, whose format this
    /// program does not read.
    pub(super) async fn expect_no_later_format(&self) -> anyhow::Result<()> {
        for (name, store) in self.stores().await? {
            if catalog::has_later_format(&store).await? {
                bail!(
                    "replica {name:?} holds a backup of Litestream 0.5, in {LATER_FORMAT}, which \
                     cannot be read here: restore it with Litestream 0.5"
                );
            }
        }
        Ok(())
    }

    /// The places of all replicas, for messages.
    pub(super) fn places(&self) -> String {
        let places = self.replicas.iter().map(|(_, location)| location.to_string());
        places.collect::<Vec<_>>().join(", ")
    }

    /// Opens all replicas, with retries for reads.
    pub(super) async fn stores(&self) -> anyhow::Result<Vec<(String, Retrying<Store>)>> {
        let mut stores = Vec::new();
        for (name, location) in &self.replicas {
            stores.push((name.clone(), open(name, location).await?));
        }
        Ok(stores)
    }
}

/// Opens one replica, with retries for reads.
pub(super) async fn open(name: &str, location: &Location) -> anyhow::Result<Retrying<Store>> {
    let store = Store::open(location).await;
    let context = || format!("replica {name:?} at {location}");
    Ok(Retrying::new(name, store.map_err(anyhow::Error::new).with_context(context)?))
}

/// Reads the configuration that the arguments or the environment name, or else the default one.
pub(super) fn load(arguments: &ConfigArguments) -> anyhow::Result<Config> {
    Ok(Config::load(&config_path(arguments)?, !arguments.no_expand_env)?)
}

/// The path of the configuration.
pub(super) fn config_path(arguments: &ConfigArguments) -> anyhow::Result<PathBuf> {
    let from_environment =
        || std::env::var_os("LITESTREAM_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = arguments.config.clone().or_else(from_environment);
    let path = path.as_deref().unwrap_or(Path::new(config::DEFAULT_PATH));
    match path.to_str() {
        Some(text) => config::absolute(text).map_err(anyhow::Error::msg),
        None => Ok(path.to_owned()),
    }
}

fn known(config: &Config) -> String {
    let Sources { databases, directories } = &config.sources;
    let databases = databases.iter().map(|database| database.path.display().to_string());
    let directories = directories
        .iter()
        .map(|directory| directory.path.join(directory.pattern.as_str()).display().to_string());
    let paths: Vec<String> = databases.chain(directories).collect();
    match paths.as_slice() {
        [] => "; it has no databases".to_owned(),
        paths => format!("; it has {}", paths.join(", ")),
    }
}

/// Whether `text` is a URL and not a path.
pub(super) fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
    })
}
