//! The configuration file: YAML in, options out, every mistake with its line and column.
//!
//! It is read in two steps. `section` and `raw` parse the document: they check which keys there
//! are, and that each holds the right kind of value. Then `validate` of each raw section fills in
//! variables and defaults, and refuses what cannot work. What leaves this module is valid.

mod database;
mod duration;
mod error;
mod expand;
mod locate;
mod logging;
mod path;
mod raw;
mod reader;
mod replica;
mod section;

use std::path::Path;
use std::time::Duration;

pub use database::parse_on_divergence;
pub use error::ConfigError;
pub use logging::{Level, LogFormat, LoggingOptions};
pub use path::absolute;
pub use replica::scheme_required;

use crate::replicate::{DatabaseOptions, Followed, Look, Places, Reference, Sources};
use database::Entry;
use error::{Invalid, Step};
use reader::Reader;
pub use reader::Variables;

/// Where the configuration is by default.
pub const DEFAULT_PATH: &str = "/etc/litestream.yml";

/// How long a shutdown may take to send what is left.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything a configuration says. Every value is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub sources: Sources,
    /// Where to serve metrics: `HOST:PORT`, or `:PORT` for all interfaces.
    pub address: Option<String>,
    /// A command to run as a child while replicating, and its arguments.
    pub exec: Option<Vec<String>>,
    pub shutdown_timeout: Duration,
    pub logging: LoggingOptions,
}

impl Config {
    /// Reads the file at `path`, and fills in environment variables if `expand_env` is set.
    pub fn load(path: &Path, expand_env: bool) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ConfigError::new(
                format!("config file not found: {}", path.display())
                    + "; name one with -config PATH or in $LITESTREAM_CONFIG",
            ),
            _ => ConfigError::new(format!("cannot read config file {}: {error}", path.display())),
        })?;
        let variable = |name: &str| std::env::var(name).ok();
        let variables: Option<&Variables> = if expand_env { Some(&variable) } else { None };
        let config = Self::parse(&text, variables).map_err(|error| error.in_file(path))?;
        let is_default = path == Path::new(DEFAULT_PATH);
        Ok(if is_default { config } else { config.named(&Reference::InConfig(path.to_owned())) })
    }

    /// Reads the text of a configuration. Without `variables`, `$` has no meaning.
    pub fn parse(text: &str, variables: Option<&Variables>) -> Result<Self, ConfigError> {
        let text = match variables {
            Some(_) => expand::protect(text),
            None => text.to_owned(),
        };
        let raw: raw::Config = section::read(&text)?;
        raw.validate(&Reader::new(variables)).map_err(|invalid| ConfigError {
            position: locate::locate(&text, &invalid.steps()),
            ..ConfigError::new(invalid.message)
        })
    }

    /// The configuration that `replicate DB_PATH REPLICA_URL…` stands for: that database, and the
    /// defaults.
    pub fn of_database(path: &str, urls: &[String]) -> Result<Self, ConfigError> {
        let mut replicas: Vec<raw::Replica> = Vec::new();
        for url in urls {
            replicas.push(raw::Replica::at_url(url, &replicas));
        }
        let database = raw::Database::of(path, replicas);
        let raw = raw::Config { dbs: Some(vec![database]), ..raw::Config::default() };
        let config = raw.validate(&Reader::new(None));
        let config = config.map_err(|invalid| ConfigError::new(invalid.message))?;
        Ok(config.named(&Reference::ByUrl))
    }

    fn named(mut self, reference: &Reference) -> Self {
        let Sources { databases, directories } = &mut self.sources;
        let templates = directories.iter_mut().map(|directory| &mut directory.template);
        databases.iter_mut().chain(templates).for_each(|of| of.reference = reference.clone());
        self
    }

    /// The database at `path`, which is absolute. A database of a directory need not exist.
    pub fn database(&self, path: &Path) -> Option<DatabaseOptions> {
        let Sources { databases, directories } = &self.sources;
        let named = databases.iter().find(|database| database.path == path).cloned();
        named.or_else(|| directories.iter().find_map(|directory| directory.database(path)))
    }

    /// All databases: those that are named, and those that are now in directories.
    pub fn databases(&self) -> std::io::Result<Vec<DatabaseOptions>> {
        let Sources { databases, directories } = &self.sources;
        let mut named = Followed::default();
        for database in databases {
            named.add(&database.path);
        }
        let look = Look::into(directories, &mut named.clone());
        look.expect_all(directories)?;
        let found = look.databases.into_iter().filter(|found| !named.contains(&found.path));
        Ok(databases.iter().cloned().chain(found).collect())
    }
}

impl raw::Config {
    fn validate(self, reader: &Reader) -> Result<Config, Invalid> {
        let keys = replica::Keys::read(reader, self.access_key_id, self.secret_access_key)?;
        let mut sources = Sources::default();
        let mut places = Places::default();
        for (index, raw) in self.dbs.unwrap_or_default().into_iter().enumerate() {
            let inside = |error: Invalid| error.inside(Step::Index(index)).inside(Step::Key("dbs"));
            match raw.validate(reader, &keys).map_err(inside)? {
                Entry::Database(database) => {
                    database::claim(&mut places, &database).map_err(inside)?;
                    sources.databases.push(database);
                }
                Entry::Directory(directory) => sources.directories.push(directory),
            }
        }
        Ok(Config {
            sources,
            address: reader.text("addr", self.addr)?.map(checked_address).transpose()?,
            exec: reader.text("exec", self.exec)?.map(|text| split_command(&text)).transpose()?,
            shutdown_timeout: reader.duration(
                "shutdown-timeout",
                self.shutdown_timeout,
                SHUTDOWN_TIMEOUT,
            )?,
            logging: self
                .logging
                .unwrap_or_default()
                .validate(reader)
                .map_err(|invalid| invalid.inside(Step::Key("logging")))?,
        })
    }
}

fn checked_address(address: String) -> Result<String, Invalid> {
    let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(address),
        Some(Err(_)) if !address.ends_with([':', ']']) => {
            Err(Invalid::new("addr", format!("the port in {address:?} is not a number to 65535")))
        }
        None if address.bytes().all(|byte| byte.is_ascii_digit()) => {
            let message =
                format!("must specify port for bind address: {address:?}; write \":{address}\"");
            Err(Invalid::new("addr", message))
        }
        _ => Err(Invalid::new("addr", format!("must specify port for bind address: {address:?}"))),
    }
}

fn split_command(text: &str) -> Result<Vec<String>, Invalid> {
    parse_command(text).map_err(|message| Invalid::new("exec", message))
}

/// Splits a command into words as a shell does, without running one.
pub fn parse_command(text: &str) -> Result<Vec<String>, String> {
    match shell_words::split(text) {
        Ok(words) if words.is_empty() => Err("the command to execute is empty".to_owned()),
        Ok(words) => Ok(words),
        Err(error) => Err(format!("cannot read the command {text:?}: {error}")),
    }
}

#[cfg(test)]
mod tests;
