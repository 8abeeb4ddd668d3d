//! Restores a database file from a replica: list, plan, download, apply, rename.
//!
//! Each object is checked before its content counts, and the finished file is checked against the
//! last seal. If anything goes wrong, there is no output: never silently a shorter or older
//! database than was asked for.

mod apply;
mod assemble;
mod candidates;
mod chain;
mod contents;
mod digest;
mod error;
mod fetch;
mod image;
mod later;
mod moment;
mod options;
mod output;
pub mod plan;
mod plan_error;
mod progress;
mod relisted;
mod replica;
mod stray;
mod temporary;
mod transaction;
mod written;

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::Context;
use futures_util::future::join_all;
use tracing::{info, warn};

pub use apply::{Applied, Applier, ApplyError};
pub use chain::check;
pub use error::{RestoreError, is_defect};
pub use image::Image;
pub use options::{RestoreOptions, Target};
pub use plan_error::PlanError;
pub use progress::{Progress, Reporting};
pub use stray::{Stray, Unlinked, are_rivals, strays};
pub use temporary::TemporaryDirectory;

use crate::format::{Generation, History, WalIndex, WalPos};
use crate::provenance::Provenance;
use crate::sqlite::is_open;
use crate::store::ObjectStore;
use crate::utc;
use assemble::{Destination, Failure, assemble};
use candidates::{Attempt, Candidates};
use contents::{Contents, threads};
use fetch::{Fetch, Fetched};
use later::warn_of_later;
use plan::Plan;
use relisted::has_changed;
use replica::{Replica, Wholeness};

/// How often a restore is tried while repeated listings show changes.
const TRIES_MAX: u32 = 5;

/// A database that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The name of the replica it is from.
    pub replica: String,
    pub generation: Generation,
    /// The position after the last transaction.
    pub position: WalPos,
    /// The size of the database file.
    pub bytes: u64,
    /// When the last of its objects was stored.
    pub created: SystemTime,
    pub verdict: Verdict,
}

/// What is proven about a restored database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its digest is that of the source when that transaction was committed.
    Identical { committed: SystemTime },
    /// The last object has no seal: only the checksums of the WAL were checked.
    Unsealed,
}

/// Restores the database that `options` ask for from the best of `replicas`.
///
/// A failed request is not sent again here: that is left to a [`Retrying`](crate::store::Retrying)
/// store. Stops, and leaves no file, when the returned future is dropped.
pub async fn restore<S: ObjectStore + 'static>(
    replicas: Vec<(String, S)>,
    options: &RestoreOptions,
) -> Result<Restored, RestoreError> {
    restore_reporting(replicas, options, Reporting::LOG).await
}

/// Restores as [`restore`] does, and reports progress.
pub async fn restore_reporting<S: ObjectStore + 'static>(
    replicas: Vec<(String, S)>,
    options: &RestoreOptions,
    reporting: Reporting,
) -> Result<Restored, RestoreError> {
    let path = &options.output;
    let exists =
        output::exists(path).with_context(|| format!("cannot look at {}", path.display()))?;
    if exists && options.replace {
        output::check_replaceable(path)?;
        // Claiming the database just before it is replaced is what counts. But that may come after
        // hours, and a database in use should be reported at once.
        if is_open(path).unwrap_or(false) {
            return Err(output::in_use(path).into());
        }
    } else if exists {
        return Err(RestoreError::OutputExists(path.clone()));
    }
    let replicas: Vec<(String, Arc<S>)> =
        replicas.into_iter().map(|(name, store)| (name, Arc::new(store))).collect();
    let mut tries = 0;
    loop {
        let (listed, unlisted) = list(&replicas, options.parallelism).await;
        let outcome = restore_listed(&listed, unlisted, options, reporting).await;
        let Err(RestoreError::Other(error)) = outcome else { return outcome };
        tries += 1;
        if tries == TRIES_MAX
            || listed.is_empty()
            || !has_changed(&listed, &list(&replicas, options.parallelism).await.0)
        {
            return Err(error.into());
        }
        warn!(error = format!("{error:#}"), "what is listed has changed meanwhile, trying again");
    }
}

/// Makes the database of one plan, and tries no other if that fails: the error is an
/// [`ApplyError`] if an object is damaged, and names it.
pub async fn restore_exactly<S: ObjectStore + 'static>(
    name: &str,
    store: Arc<S>,
    plan: Plan,
    options: &RestoreOptions,
    reporting: Reporting,
) -> Result<Restored, anyhow::Error> {
    let replica = Replica { name: name.to_owned(), store, histories: Vec::new() };
    let outcome = restore_plan(&replica, plan, Wholeness::Sure, options, reporting).await;
    outcome.map_err(|failure| match failure {
        Failure::Snapshot(error)
        | Failure::Replica(error)
        | Failure::Here(RestoreError::Other(error)) => error,
        Failure::Here(error) => error.into(),
    })
}

/// Restores from the best of the replicas that could be listed.
async fn restore_listed<S: ObjectStore + 'static>(
    replicas: &[Replica<S>],
    mut unlisted: Option<anyhow::Error>,
    options: &RestoreOptions,
    reporting: Reporting,
) -> Result<Restored, RestoreError> {
    let mut candidates = Candidates::of(replicas);
    candidates.leave_out_later(options.target).await;
    loop {
        let ranking = candidates.rank(options).map_err(|error| {
            match (error, unlisted.take()) {
                // A replica that could not be listed may hold everything, so this is not "there is
                // no backup".
                (_, Some(unlisted)) => RestoreError::Other(unlisted),
                (PlanError::NoBackup, None) => RestoreError::NoBackup,
                (error, None) => RestoreError::Other(error.into()),
            }
        })?;
        match candidates.restore(&ranking, options, reporting).await? {
            Attempt::Restored(restored) => {
                if let Some(error) = unlisted {
                    let (error, replica) = (format!("{error:#}"), &restored.replica);
                    warn!(
                        error,
                        replica, "RESTORED from this replica, and another one may be newer"
                    );
                }
                if reporting.announced && is_default(options) {
                    warn_of_later(replicas, &restored).await;
                }
                return Ok(restored);
            }
            Attempt::Without(number, strays) => candidates.leave_out(number, &strays),
        }
    }
}

/// Whether the clocks of the stores decide which generation to take.
fn is_default(options: &RestoreOptions) -> bool {
    options.target == Target::Latest && options.generation.is_none()
}

/// Lists all replicas concurrently. Returns those that could be listed, and the first error.
async fn list<S: ObjectStore>(
    replicas: &[(String, Arc<S>)],
    parallelism: usize,
) -> (Vec<Replica<S>>, Option<anyhow::Error>) {
    let mut listed = Vec::new();
    let mut unlisted = Vec::new();
    let listings = replicas.iter().map(|(name, store)| async move {
        let listing = Replica::list(name.clone(), Arc::clone(store), parallelism).await;
        listing.map_err(|error| (name, error))
    });
    for outcome in join_all(listings).await {
        match outcome {
            Ok(replica) => listed.push(replica),
            Err((name, error)) => unlisted.push((name, error)),
        }
    }
    let mut unlisted = unlisted.into_iter();
    let first = unlisted.next().map(|(name, error)| {
        let context = format!("cannot list replica {name}");
        anyhow::Error::new(error).context(context)
    });
    // The first error is left to the caller to report.
    for (replica, error) in unlisted {
        warn!(replica, %error, "cannot list replica");
    }
    (listed, first)
}

/// Makes the database of one plan.
async fn restore_plan<S: ObjectStore + 'static>(
    replica: &Replica<S>,
    plan: Plan,
    wholeness: Wholeness,
    options: &RestoreOptions,
    reporting: Reporting,
) -> Result<Restored, Failure> {
    let begun = Instant::now();
    let (path, replace) = (options.output.clone(), options.replace);
    let parallelism = options.parallelism;
    let position = options.target.position();
    if reporting.announced {
        log_plan(replica, &plan, options);
    }
    let objects: Vec<_> = plan.objects().map(|(key, size)| (key.to_string(), size)).collect();
    let total = objects.iter().map(|(_, size)| size).sum();
    let fetched = Arc::new(Fetched::default());
    let _stop = StopOnDrop(Arc::clone(&fetched));
    let store = Arc::clone(&replica.store);
    let (fetch, _requests) =
        Fetch::start(store, objects, options.parallelism, Arc::clone(&fetched));
    let (generation, created) = (plan.generation, plan.created());
    let watched = Arc::clone(&fetched);
    let newest = History::latest(&replica.histories).and_then(History::newest);
    let provenance = newest.map(|(key, _)| Provenance(key));
    let mut work = tokio::task::spawn_blocking(move || {
        let output = Destination { path, replace, provenance, position };
        let objects = plan.segments.len() + 1;
        let mut contents = Contents::decode(fetch, objects, threads(parallelism))
            .map_err(|error| Failure::Here(RestoreError::Other(error.into())))?;
        assemble(&plan, wholeness, &mut contents, &output, &watched)
    });
    let outcome = loop {
        if let Ok(outcome) = tokio::time::timeout(reporting.interval, &mut work).await {
            break outcome;
        }
        let (bytes, elapsed) = (fetched.bytes(), begun.elapsed());
        (reporting.report)(Progress { bytes, total, elapsed });
    };
    let (applied, verdict) = outcome.unwrap_or_else(|error| {
        Err(Failure::Here(RestoreError::Other(anyhow::Error::new(error))))
    })?;
    let Applied { position, bytes, .. } = applied;
    let replica = replica.name.clone();
    let restored = Restored { replica, generation, position, bytes, created, verdict };
    if reporting.announced {
        log_restored(&restored, &options.output, begun);
    }
    Ok(restored)
}

/// Asks the thread that does the work to stop when nobody waits for it any more.
struct StopOnDrop(Arc<Fetched>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn log_plan<S>(replica: &Replica<S>, plan: &Plan, options: &RestoreOptions) {
    let Plan { generation, snapshot, segments } = plan;
    let path = options.output.display();
    let (replica, index) = (&replica.name, &snapshot.index);
    info!(replica, %generation, %index, %path, "restoring snapshot");
    if let (Some(first), Some(last)) = (segments.first(), segments.last()) {
        let (index_min, index_max) = (first.pos.index, last.pos.index);
        let segments = segments.len();
        info!(replica, %generation, %index_min, %index_max, segments, "restoring wal files");
    }
    let last = segments.last().map_or(*index, |last| last.pos.index);
    if let Target::Index(wanted) = options.target
        && last < wanted
        && wanted != WalIndex::MAX
    {
        warn!(
            replica, %generation, %wanted, %last,
            "there is no WAL of that index, restoring up to the last one. Indexes are hexadecimal \
             here, and decimal in lists"
        );
    }
}

fn log_restored(restored: &Restored, path: &Path, begun: Instant) {
    let Restored { replica, generation, position, bytes, created, verdict } = restored;
    let created = utc::milliseconds(*created);
    let elapsed = begun.elapsed();
    let verdict = match verdict {
        Verdict::Identical { committed } => {
            let committed = utc::milliseconds(*committed);
            format!("identical to the source at {committed}")
        }
        Verdict::Unsealed => "no seals: checked WAL checksums only".to_owned(),
    };
    let path = path.display();
    info!(replica, %generation, %position, %created, bytes, %path, ?elapsed, verdict, "restored");
}
