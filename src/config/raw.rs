//! The sections of the configuration and their keys, as they are written.

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess};

use super::section::{Scalar, Section, SectionVisitor, section};

section! {
    /// The whole file.
    Config, "at the top level" {
        "access-key-id" => access_key_id: Scalar,
        "addr" => addr: Scalar,
        "dbs" => dbs: Vec<Database>,
        "exec" => exec: Scalar,
        "logging" => logging: Logging,
        "secret-access-key" => secret_access_key: Scalar,
        "shutdown-timeout" => shutdown_timeout: Scalar,
    }
}

section! {
    Logging, "in `logging`" {
        "level" => level: Scalar,
        "stderr" => stderr: Scalar,
        "type" => kind: Scalar,
    }
}

section! {
    Database, "in a database" {
        "checkpoint-interval" => checkpoint_interval: Scalar,
        "dir" => dir: Scalar,
        "max-checkpoint-page-count" => max_checkpoint_page_count: Scalar,
        "meta-path" => meta_path: Scalar,
        "min-checkpoint-page-count" => min_checkpoint_page_count: Scalar,
        "monitor-interval" => monitor_interval: Scalar,
        "on-divergence" => on_divergence: Scalar,
        "path" => path: Scalar,
        "pattern" => pattern: Scalar,
        "recursive" => recursive: Scalar,
        "replicas" => replicas: Vec<Replica>,
        "watch" => watch: Scalar,
    }
}

section! {
    Replica, "in a replica" {
        "access-key-id" => access_key_id: Scalar,
        "account-key" => account_key: IgnoredAny,
        "account-name" => account_name: IgnoredAny,
        "age" => age: IgnoredAny,
        "bucket" => bucket: Scalar,
        "endpoint" => endpoint: Scalar,
        "force-path-style" => force_path_style: Scalar,
        "host" => host: IgnoredAny,
        "key-path" => key_path: IgnoredAny,
        "name" => name: Scalar,
        "password" => password: IgnoredAny,
        "path" => path: Scalar,
        "region" => region: Scalar,
        "retention" => retention: Scalar,
        "retention-check-interval" => retention_check_interval: Scalar,
        "secret-access-key" => secret_access_key: Scalar,
        "skip-verify" => skip_verify: Scalar,
        "snapshot-interval" => snapshot_interval: Scalar,
        "sync-interval" => sync_interval: Scalar,
        "type" => kind: Scalar,
        "url" => url: Scalar,
        "user" => user: IgnoredAny,
        "validation-interval" => validation_interval: Scalar,
    }
}

impl Database {
    pub(super) fn of(path: &str, replicas: Vec<Replica>) -> Self {
        Self { path: Some(Scalar(path.to_owned())), replicas: Some(replicas), ..Self::default() }
    }
}

impl Replica {
    /// A replica with the scheme of its URL as its name, and a number if others have that name.
    pub(super) fn at_url(url: &str, others: &[Self]) -> Self {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let taken = |name: &str| {
            others.iter().any(|other| other.name.as_ref().is_some_and(|taken| taken.0 == name))
        };
        let numbered = (2..).map(|number| format!("{scheme}-{number}"));
        let name = std::iter::once(scheme.to_owned()).chain(numbered).find(|name| !taken(name));
        Self { name: name.map(Scalar), url: Some(Scalar(url.to_owned())), ..Self::default() }
    }
}

/// A guess at what an unknown key was meant to be. `keys` are the known ones.
pub(super) fn hint(key: &str, keys: &[&str]) -> String {
    let places = [
        (Config::PLACE, Config::KEYS),
        (Database::PLACE, Database::KEYS),
        (Replica::PLACE, Replica::KEYS),
        (Logging::PLACE, Logging::KEYS),
    ];
    let distance = |known: &str| strsim::damerau_levenshtein(key, known);
    let nearest = keys.iter().min_by_key(|known| distance(known));
    match nearest {
        Some(nearest) if distance(nearest) <= 1 + nearest.len() / 4 => {
            format!("did you mean `{nearest}`?")
        }
        _ => match places.iter().find(|(_, keys)| keys.contains(&key)) {
            Some((place, _)) => format!("it belongs {place}"),
            None => format!("known are {}", keys.join(", ")),
        },
    }
}
