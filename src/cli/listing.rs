//! What a replica holds.

use anyhow::{Context, bail};

use super::arguments::ListingArguments;
use super::output::{self, Row};
use super::source::{self, Source};
use super::{DONE, forks, logging};
use crate::format::{Generation, History, Key};
use crate::store::{ObjectStore, Store};

/// Finds the replicas that the arguments name.
pub(super) fn source(arguments: &ListingArguments) -> anyhow::Result<Source> {
    // Standard output is for what was asked for.
    logging::start_for_listing();
    let replica = arguments.replica.as_deref();
    let source = Source::find(arguments.source.as_deref(), &arguments.config, replica)?;
    Ok(source.fork(arguments.fork))
}

/// Prints what `list` finds on each replica. When one of them fails, the others are still printed.
pub(super) async fn print<R: Row>(
    source: &Source,
    json: bool,
    list: impl AsyncFn(&str, &Store) -> anyhow::Result<Vec<R>>,
) -> anyhow::Result<u8> {
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for (name, location) in &source.replicas {
        let listed = match source::open(name, location).await {
            Ok(store) => {
                let context = || format!("cannot list replica {name:?} at {location}");
                let listed = list(name, &store).await.with_context(context);
                forks::mention(name, &store).await;
                listed
            }
            Err(error) => Err(error),
        };
        match listed {
            Ok(listed) => rows.extend(listed),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    output::print_rows(&rows, json)?;
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(DONE)
}

/// The generations that there are, in no meaningful order.
pub(super) async fn generations(store: &Store) -> anyhow::Result<Vec<Generation>> {
    let names = store.list_directories(Key::GENERATIONS).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Those objects of a generation whose keys begin with `prefix`.
pub(super) async fn history(
    store: &Store,
    generation: Generation,
    prefix: &str,
) -> anyhow::Result<History> {
    let mut listed = Vec::new();
    for object in store.list(prefix).await? {
        // What has another name was put there by others, and is none of ours.
        if let Ok(key) = object.key.parse::<Key>() {
            listed.push((key, object.size, object.created));
        }
    }
    Ok(History::new(generation, listed))
}
