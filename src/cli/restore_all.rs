use std::future::ready;

use anyhow::bail;
use futures_util::stream::{self, StreamExt};
use tracing::{error, warn};

use super::arguments::RestoreArguments;
use super::restore::{exists, restore_source};
use super::source::{self, Source};
use super::{DONE, logging, replicated};
use crate::config::Config;
use crate::restore::{Reporting, Target};

/// How many databases are restored at the same time. This helps with small ones in a store that
/// answers slowly.
const AT_A_TIME: usize = 4;

/// Restores all missing databases that the configuration names or its replicas hold, and goes on
/// when one cannot be restored.
pub(super) async fn run(target: Target, arguments: &RestoreArguments) -> anyhow::Result<u8> {
    let replica = arguments.source.replica.as_deref();
    let config = source::load(&arguments.source.config)?;
    logging::start(config.logging);
    let databases = replicated::databases(&config, replica).await?;
    let mut sources = Source::all(&databases, replica, config.logging)?;
    sources.retain(|source| !was_deleted(source, &config));
    if sources.is_empty() && !arguments.if_replica_exists {
        bail!("no matching backups found: there is nothing to restore");
    }
    let mut arguments = arguments.clone();
    arguments.if_db_not_exists = !arguments.force;
    let arguments = &arguments;
    let restores = sources.iter().map(|source| async move {
        let outcome = restore_source(source, target, arguments, Reporting::LOG).await;
        if let (Err(error), Some(path)) = (&outcome, &source.database) {
            error!(path = %path.display(), error = format!("{error:#}"), "cannot be restored");
        }
        outcome.is_err()
    });
    let failures =
        stream::iter(restores).buffer_unordered(AT_A_TIME).filter(|&failed| ready(failed));
    match failures.count().await {
        0 => Ok(DONE),
        failures => bail!("{failures} of {} databases cannot be restored", sources.len()),
    }
}

/// Whether a database was deleted from a directory that has lost nothing else: then its state
/// directory is still there. It must not come back with the next start of a container.
fn was_deleted(source: &Source, config: &Config) -> bool {
    let (Some(path), Some(state)) = (&source.database, &source.state_directory) else {
        return false;
    };
    let is_named = config.sources.databases.iter().any(|database| database.path == *path);
    let was_deleted = !is_named && state.exists() && exists(path).is_ok_and(|exists| !exists);
    if was_deleted {
        let (path, state) = (path.display(), state.display());
        warn!(
            %path,
            "was deleted and is left out: name it to restore it, or remove {state} before"
        );
    }
    was_deleted
}
