//! Tables of what a replica holds.

use anyhow::{Context, bail};
use tracing::warn;

use super::arguments::ListingArguments;
use super::output::{self, Row};
use super::source::{self, Source};
use super::{DONE, forks, logging};
use crate::store::{Retrying, Store};

/// Finds the replicas that the arguments name.
pub(super) async fn source(arguments: &ListingArguments) -> anyhow::Result<Source> {
    // Standard output is for the requested table.
    logging::start_for_listing();
    Source::find(&arguments.source).await
}

/// Prints what `list` finds on each replica: `None` if the replica holds nothing at all. If one of
/// them fails, the others are still printed. If nothing is found on any, `missing` is the error, if
/// it is set.
pub(super) async fn print<R: Row>(
    source: &Source,
    json: bool,
    missing: Option<String>,
    list: impl AsyncFn(&str, &Retrying<Store>) -> anyhow::Result<Option<Vec<R>>>,
) -> anyhow::Result<u8> {
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for (name, location) in &source.replicas {
        let listed = match source::open(name, location).await {
            Ok(store) => {
                let context = || format!("cannot list replica {name:?} at {location}");
                let listed = list(name, &store).await.with_context(context);
                if listed.is_ok() {
                    forks::mention(name, &store).await;
                }
                listed
            }
            Err(error) => Err(error),
        };
        match listed {
            Ok(Some(listed)) => rows.extend(listed),
            Ok(None) if missing.is_some() => (),
            Ok(None) => warn!(replica = name, url = %location, "nothing there"),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    output::print_rows(&rows, json)?;
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    match missing {
        Some(missing) if rows.is_empty() => bail!(missing),
        _ => Ok(DONE),
    }
}
