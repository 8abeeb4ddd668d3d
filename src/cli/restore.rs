use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tracing::info;

use super::arguments::RestoreArguments;
use super::source::Source;
use super::{DONE, logging};
use crate::config;
use crate::restore::{RestoreError, RestoreOptions, Target, restore};

pub(super) async fn run(arguments: &RestoreArguments) -> anyhow::Result<u8> {
    let target = target(arguments)?;
    let source =
        Source::find(arguments.source.as_deref(), &arguments.config, arguments.replica.as_deref())?;
    logging::start(source.logging);
    let options = RestoreOptions {
        output: output(arguments, &source)?,
        replace: arguments.force,
        target,
        generation: arguments.generation,
        parallelism: usize::from(arguments.parallelism.max(1)),
    };
    if arguments.if_db_not_exists && exists(&options.output)? {
        info!(path = %options.output.display(), "database already exists, skipping");
        return Ok(DONE);
    }
    if !options.replace && exists(&options.output)? {
        return Err(RestoreError::OutputExists(options.output).into());
    }
    match restore(source.stores().await?, &options).await {
        Ok(_) => Ok(DONE),
        Err(RestoreError::NoBackup) if arguments.if_replica_exists => {
            info!("no matching backups found");
            Ok(DONE)
        }
        // It has come into being in the meantime.
        Err(RestoreError::OutputExists(path)) if arguments.if_db_not_exists => {
            info!(path = %path.display(), "database already exists, skipping");
            Ok(DONE)
        }
        Err(error) => Err(error.into()),
    }
}

fn target(arguments: &RestoreArguments) -> anyhow::Result<Target> {
    match (arguments.index, arguments.timestamp) {
        (Some(_), Some(_)) => bail!("cannot specify index & timestamp to restore"),
        (Some(index), None) => Ok(Target::Index(index)),
        (None, Some(timestamp)) => Ok(Target::Timestamp(timestamp)),
        (None, None) => Ok(Target::Latest),
    }
}

fn output(arguments: &RestoreArguments, source: &Source) -> anyhow::Result<PathBuf> {
    match (&arguments.output, &source.database) {
        (Some(output), _) => config::absolute(output).map_err(anyhow::Error::msg),
        (None, Some(database)) => Ok(database.clone()),
        (None, None) => bail!("output path required: name the file to restore to with -o PATH"),
    }
}

/// Whether there is anything under that name, be it a link to nowhere.
fn exists(path: &Path) -> anyhow::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}
