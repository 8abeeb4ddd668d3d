use std::sync::Arc;

use anyhow::bail;
use tokio::task::JoinSet;
use tracing::info;

use super::arguments::ReplicateArguments;
use super::source::{config_path, is_url, load};
use super::version::VERSION;
use super::{DONE, INTERRUPTED, NOT_REPLICATED, logging, output, serve};
use crate::config::{self, Config};
use crate::replicate::{
    DatabaseOptions, Mender, Metrics, Signals, Sources, note_defect, replicate,
};
use crate::validate::validate;

pub(super) async fn run(arguments: ReplicateArguments) -> anyhow::Result<u8> {
    // This comes first: as process 1 of a container, we would lose an earlier signal.
    let signals = Signals::listen()?;
    let mut config = config(&arguments)?;
    if let Some(policy) = arguments.on_divergence {
        let Sources { databases, directories } = &mut config.sources;
        let templates = directories.iter_mut().map(|directory| &mut directory.template);
        databases.iter_mut().chain(templates).for_each(|of| of.on_divergence = policy);
    }
    let child = match &arguments.exec {
        Some(command) => Some(config::parse_command(command).map_err(anyhow::Error::msg)?),
        None => config.exec,
    };
    logging::start(config.logging);
    info!(version = VERSION, "litestream");
    let metrics = Arc::new(Metrics::new()?);
    let listener = match &config.address {
        Some(address) => Some(serve::listen(address).await?),
        None => None,
    };
    let followed_metrics = Arc::clone(&metrics);
    let companions = move |database: &DatabaseOptions, mender: Mender| {
        announce(database);
        validators(database, &followed_metrics, &mender)
    };
    let timeout = config.shutdown_timeout;
    let metrics_of_all = Arc::clone(&metrics);
    let companions = Box::new(companions);
    let replicate = replicate(config.sources, child, timeout, signals, metrics_of_all, companions);
    let outcome = match listener {
        Some(listener) => tokio::select! {
            outcome = replicate => outcome?,
            served = serve::serve(listener, metrics) => bail!("metrics are no longer served: {served:?}"),
        },
        None => replicate.await?,
    };
    let mut behind: Vec<String> = outcome.unreplicated.iter().map(ToString::to_string).collect();
    if outcome.abandoned {
        behind.push("the application is still running, and what it commits is not sent".to_owned());
    }
    if !behind.is_empty() {
        let behind = behind.join("; ");
        output::print_error(&format!("not everything is replicated: {behind}"));
    }
    Ok(status(outcome.child, outcome.interrupted, behind.is_empty()))
}

/// Starts to validate the replicas of a database that are configured for it. Validation ends when
/// the value is dropped.
fn validators(database: &DatabaseOptions, metrics: &Metrics, mender: &Mender) -> JoinSet<()> {
    let mut validators = JoinSet::new();
    let metrics = metrics.database(&database.path);
    for (number, replica) in database.replicas.iter().enumerate() {
        if replica.validation_interval.is_zero() {
            // What was found when it was validated would never be over.
            let _ = note_defect(database, &replica.name, None);
            continue;
        }
        let (database, replica) = (database.clone(), replica.clone());
        let metrics = metrics.replica(&replica.name);
        let mender = mender.clone();
        let mend = move |anew| mender.mend(number, anew);
        validators.spawn(async move { validate(&database, &replica, &metrics, &mend).await });
    }
    validators
}

/// The configuration from the file, or from the arguments.
fn config(arguments: &ReplicateArguments) -> anyhow::Result<Config> {
    let Some(database) = &arguments.database else {
        let config = load(&arguments.config)?;
        if config.sources == Sources::default() {
            bail!(
                "no databases specified in configuration {}; add a list of `dbs` to it",
                config_path(&arguments.config)?.display()
            );
        }
        return Ok(config);
    };
    if arguments.urls.is_empty() {
        bail!("must specify at least one replica URL for {database}");
    }
    if is_url(database) {
        bail!("the database comes first, and is no URL: {database}");
    }
    if arguments.config.config.is_some() {
        bail!("cannot specify a replica URL and the -config flag");
    }
    if let Some(path) = arguments.urls.iter().find(|url| !is_url(url)) {
        bail!("{}", config::scheme_required(path));
    }
    Ok(Config::of_database(database, &arguments.urls)?)
}

fn announce(database: &DatabaseOptions) {
    for replica in &database.replicas {
        info!(
            db = %database.path.display(),
            name = replica.name,
            "type" = replica.location.kind(),
            "sync-interval" = ?replica.sync_interval,
            url = %replica.location,
            endpoint = replica.location.endpoint(),
            "replicating to"
        );
    }
}

fn status(child: Option<i32>, interrupted: bool, complete: bool) -> u8 {
    match child {
        _ if interrupted && !complete => INTERRUPTED,
        _ if !complete => NOT_REPLICATED,
        // A status that does not fit is still not success.
        Some(status) => u8::try_from(status).unwrap_or(u8::MAX),
        None => DONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replicated_overrules_the_child() {
        for (child, complete, expected) in [
            (None, true, 0),
            (Some(0), true, 0),
            (Some(3), true, 3),
            (Some(143), true, 143),
            (Some(-1), true, 255),
            (None, false, 75),
            (Some(0), false, 75),
            (Some(3), false, 75),
        ] {
            assert_eq!(status(child, false, complete), expected);
        }
        assert_eq!(status(None, true, false), 130);
        assert_eq!(status(None, true, true), 0);
    }
}
