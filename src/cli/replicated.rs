//! Databases of directories that are no longer on the disk: only their replicas know them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context;
use tracing::warn;

use super::source;
use crate::catalog;
use crate::config::Config;
use crate::replicate::{DatabaseOptions, DirectoryOptions, ReplicaOptions};

/// Requests at a time.
const PARALLELISM: usize = 16;

/// All databases of the configuration: those that are named, and those that are in its directories
/// or in replicas of them. `replica` restricts the latter to the replica of that name.
pub(super) async fn databases(
    config: &Config,
    replica: Option<&str>,
) -> anyhow::Result<Vec<DatabaseOptions>> {
    let mut databases = config.databases().context("look for databases")?;
    let mut known: BTreeSet<PathBuf> =
        databases.iter().map(|database| database.path.clone()).collect();
    for directory in &config.sources.directories {
        let replicated = replicated(directory, replica).await?;
        let missing = replicated.into_iter().filter(|path| known.insert(path.clone()));
        databases.extend(missing.filter_map(|path| config.database(&path)));
    }
    Ok(databases)
}

/// The databases that the replicas of a directory hold, in order. Fails if none can be listed.
async fn replicated(
    directory: &DirectoryOptions,
    replica: Option<&str>,
) -> anyhow::Result<BTreeSet<PathBuf>> {
    let replicas = directory.template.replicas.iter();
    let replicas = replicas.filter(|it| replica.is_none_or(|wanted| it.name == wanted));
    let (mut paths, mut failures, mut is_listed) = (BTreeSet::new(), Vec::new(), false);
    for replica in replicas {
        match roots(replica, directory.recursive).await {
            Ok(roots) => {
                is_listed = true;
                let found = roots.iter().map(|root| directory.path.join(root));
                paths.extend(found.filter(|path| directory.database(path).is_some()));
            }
            Err(error) => failures.push((&replica.name, error)),
        }
    }
    for (replica, error) in failures {
        if !is_listed {
            return Err(error);
        }
        let error = format!("{error:#}");
        warn!(replica, error, "cannot be listed: databases that only this one has are left out");
    }
    Ok(paths)
}

/// Where the databases of a directory are in one of its replicas.
async fn roots(replica: &ReplicaOptions, deep: bool) -> anyhow::Result<Vec<String>> {
    let ReplicaOptions { name, location, .. } = replica;
    let store = source::open(name, location).await?;
    let roots = catalog::replicas_below(&store, deep, PARALLELISM).await;
    roots.with_context(|| format!("cannot list replica {name:?} at {location}"))
}
