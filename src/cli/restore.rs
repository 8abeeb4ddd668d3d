use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use tracing::{info, warn};

use super::arguments::RestoreArguments;
use super::progress_bar::ProgressBar;
use super::source::Source;
use super::{DONE, logging, restore_all};
use crate::catalog;
use crate::config;
use crate::format::{Proof, ProofRecord};
use crate::replicate::acknowledged;
use crate::restore::{
    Reporting, RestoreError, RestoreOptions, Restored, Target, restore_reporting,
};
use crate::store::{ObjectStore, Retrying, Store};
use crate::utc;

pub(super) async fn run(arguments: &RestoreArguments) -> anyhow::Result<u8> {
    let target = target(arguments)?;
    if arguments.all {
        return restore_all::run(target, arguments).await;
    }
    let source = Source::find(&arguments.source).await?;
    logging::start(source.logging);
    match ProgressBar::start() {
        Some(_bar) => restore_source(&source, target, arguments, ProgressBar::RESTORING).await,
        None => restore_source(&source, target, arguments, Reporting::LOG).await,
    }
}

/// Restores one database, as `arguments` say.
pub(super) async fn restore_source(
    source: &Source,
    target: Target,
    arguments: &RestoreArguments,
    reporting: Reporting,
) -> anyhow::Result<u8> {
    let mut options = RestoreOptions {
        output: output(arguments, source)?,
        replace: arguments.force,
        target,
        generation: arguments.generation,
        parallelism: usize::from(arguments.parallelism),
    };
    if arguments.if_db_not_exists && exists(&options.output)? {
        let path = options.output.display();
        info!(%path, "database already exists, skipping");
        // Whoever opens a database that is not there makes such a file.
        if std::fs::metadata(&options.output).is_ok_and(|found| found.is_file() && found.len() == 0)
        {
            warn!(%path, "the file is empty: if it is to be restored, remove it first");
        }
        return Ok(DONE);
    }
    if !options.replace && exists(&options.output)? {
        return Err(RestoreError::OutputExists(options.output).into());
    }
    let mut stores = source.stores().await?;
    if arguments.last_verified {
        let (replica, proof) = newest_proof(stores).await?;
        (options.generation, options.target) =
            (Some(proof.generation), Target::Position(proof.position));
        stores = vec![replica];
    }
    let outcome = restore_reporting(stores, &options, reporting).await;
    source.mention_forks().await;
    if matches!(outcome, Err(RestoreError::NoBackup)) {
        // Otherwise a start script would go on with an empty database.
        source.expect_no_later_format().await?;
    }
    match outcome {
        Ok(restored) => {
            if options.target == Target::Latest && options.generation.is_none() {
                warn_of_loss(source, arguments, &restored);
            }
            Ok(DONE)
        }
        Err(RestoreError::NoBackup) if arguments.if_replica_exists => {
            let urls = source.places();
            // Whoever restores before each start may go on with an empty database now.
            if source.replicas.iter().any(|(_, location)| location.may_be_unmounted()) {
                warn!(
                    urls,
                    "no matching backups found, in a directory that is missing or empty: if that is on \
                     a disk of its own, is it mounted?"
                );
            } else {
                info!(urls, "no matching backups found");
            }
            Ok(DONE)
        }
        Err(RestoreError::NoBackup) => bail!("no matching backups found in {}", source.places()),
        // It was created in the meantime.
        Err(RestoreError::OutputExists(path)) if arguments.if_db_not_exists => {
            info!(path = %path.display(), "database already exists, skipping");
            Ok(DONE)
        }
        Err(error) => Err(error.into()),
    }
}

/// Warns if the replica had acknowledged something else last to the daemon of this database, as the
/// state directory beside it says: what the daemon stored may be missing.
fn warn_of_loss(source: &Source, arguments: &RestoreArguments, restored: &Restored) {
    let Some(directory) = &source.state_directory else { return };
    let found = acknowledged(directory, &restored.replica, arguments.source.fork);
    let Some((generation, end)) = found.ok().flatten() else { return };
    if generation != restored.generation || restored.position < end {
        warn!(
            replica = restored.replica,
            acknowledged = format!("{generation}/{end}"),
            "RESTORED something else than the store had acknowledged last to the daemon on this \
             machine. Unless another one has gone on since, something is missing: see `litestream \
             verify`"
        );
    }
}

/// The name and the store of a replica.
type Replica = (String, Retrying<Store>);

/// The replica with the most recent proof, and that proof. A replica that has none or cannot be
/// read does not prevent using another.
async fn newest_proof(replicas: Vec<Replica>) -> anyhow::Result<(Replica, Proof)> {
    let mut newest: Option<(Replica, Proof)> = None;
    let (mut damaged, mut failures) = (None, Vec::new());
    for (name, store) in replicas {
        let found = match record(&store).await {
            Ok(found) => found,
            Err(error) => {
                failures.push((name, error));
                continue;
            }
        };
        damaged = damaged.or(found.and_then(|found| found.damaged));
        if let Some(found) = found.and_then(|found| found.last)
            && newest.as_ref().is_none_or(|(_, known)| known.proven < found.proven)
        {
            newest = Some(((name, store), found));
        }
    }
    let Some((replica, proof)) = newest else {
        return Err(match failures.into_iter().next() {
            Some((name, error)) => error.context(format!("replica {name:?}")),
            None => nothing_proven(damaged),
        });
    };
    for (replica, error) in failures {
        let error = format!("{error:#}");
        warn!(replica, error, "cannot read what was proven of it, taking another replica");
    }
    let proven = utc::milliseconds(proof.proven);
    info!(replica = replica.0, position = %proof.position, %proven, "last verified");
    Ok((replica, proof))
}

async fn record(store: &impl ObjectStore) -> anyhow::Result<Option<ProofRecord>> {
    Ok(catalog::proof_record(store).await?.transpose()?)
}

fn nothing_proven(damaged: Option<SystemTime>) -> anyhow::Error {
    match damaged {
        None => {
            anyhow!("nothing was verified yet: `replicate` does so in each `validation-interval`")
        }
        Some(since) => anyhow!(
            "nothing was ever proven: the database was damaged when it was validated first, at {}. \
             An earlier state may be whole (-timestamp): nothing has expired since",
            utc::seconds(since)
        ),
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
        (Some(output), _) if output == "-" => {
            bail!("cannot restore to the standard output: name a file with -o PATH")
        }
        (Some(output), _) => config::absolute(output).map_err(anyhow::Error::msg),
        (None, Some(database)) => Ok(database.clone()),
        (None, None) => bail!("output path required: name the file to restore to with -o PATH"),
    }
}

/// Whether there is anything under that name, even a dangling link.
pub(super) fn exists(path: &Path) -> anyhow::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}
