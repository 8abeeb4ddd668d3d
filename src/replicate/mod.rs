//! From a live database to its replicas.
//!
//! ```text
//!   one task per database      tail: log → capture → staging directories, checkpoints, snapshots
//!   one task per replica       replica: staging directory → store
//! ```
//!
//! While a task looks at its database, it has one of a few threads. One more thread waits for
//! changes, and rings the bell of each database that has changed.
//!
//! A tail and its replicas share the staging directories, and exchange messages that no later
//! process needs. The tail decides when everything is done.

mod application;
mod backoff;
mod bell;
mod cancellation;
mod capture;
mod changes;
mod checkpoint;
mod continuity;
mod cursor;
mod descent;
mod directories;
mod directory;
mod durable;
mod engine;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod health;
mod hold;
mod image;
mod last_write;
mod lineage;
mod marks;
mod mender;
mod message;
mod metrics;
mod open_files;
mod opened;
mod options;
mod outcome;
mod pages;
mod places;
mod refusals;
mod renaming;
mod replica;
mod restoration;
mod retention;
mod sent;
mod signals;
mod snapshot;
mod staging;
mod state_directory;
mod tables;
mod tail;
mod tip;
mod watchdog;
mod watcher;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::format::{Generation, ProofRecord, WalPos};

use application::Application;
use directories::Directories;
pub use directory::{DirectoryOptions, Followed, Look};
pub use engine::Companions;
use engine::Engine;
pub use health::Health;
pub use mender::Mender;
pub use metrics::{
    CheckpointMetrics, DatabaseMetrics, Metrics, Operation, ReplicaHealth, ReplicaMetrics, Validity,
};
pub use options::{DatabaseOptions, OnDivergence, Reference, ReplicaOptions};
pub use outcome::{Outcome, Unreplicated};
pub use pages::PageTable;
pub use places::{Conflict, Places};
pub use signals::Signals;
use staging::Staging;

/// The fork of `replica` that the database is replicated to, if it did not continue what the
/// replica held.
pub fn fork(database: &DatabaseOptions, replica: &str) -> std::io::Result<Option<Generation>> {
    Staging::new(&database.state_directory, replica).fork()
}

/// Takes note of what validation found out about a replica. While the record says that the database
/// is damaged, nothing expires from any of its replicas, validated or not.
pub fn note_validated(
    database: &DatabaseOptions,
    replica: &str,
    record: &ProofRecord,
) -> std::io::Result<()> {
    Staging::new(&database.state_directory, replica).note_record(record)
}

/// Takes note of why validation could not restore a replica, or that it can be restored. Later
/// processes know it, and until it is over `replicate` does not end with success.
pub fn note_defect(
    database: &DatabaseOptions,
    replica: &str,
    defect: Option<&str>,
) -> std::io::Result<()> {
    Staging::new(&database.state_directory, replica).note_defect(defect)
}

/// Whether the last validation could not restore a replica.
pub fn has_defect(database: &DatabaseOptions, replica: &str) -> bool {
    Staging::new(&database.state_directory, replica).defect().is_some()
}

/// How far a replica, or the fork `fork` of it, has acknowledged a generation, according to the
/// state directory of the database: everything before that position must be there.
pub fn acknowledged(
    state_directory: &Path,
    replica: &str,
    fork: Option<Generation>,
) -> std::io::Result<Option<(Generation, WalPos)>> {
    let staging = Staging::new(state_directory, replica);
    if staging.fork()? != fork {
        return Ok(None);
    }
    Ok(staging.sent()?.map(|sent| (sent.generation, sent.end)))
}

/// What to replicate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub databases: Vec<DatabaseOptions>,
    pub directories: Vec<DirectoryOptions>,
}

/// Replicates databases until a signal arrives, or until the application that we run as our child
/// ends.
///
/// Then everything that is left is captured and sent, for `shutdown_timeout` at most: what
/// [`Outcome::unreplicated`] does not name is on every replica. A second signal ends everything at
/// once, even while the application, to which the first one was passed on, is still running.
///
/// # Errors
///
/// Those at the start that only a person can resolve: a file that is no database, a store that
/// refuses us.
pub async fn replicate(
    sources: Sources,
    child: Option<Vec<String>>,
    shutdown_timeout: Duration,
    mut signals: Signals,
    metrics: Arc<Metrics>,
    companions: Box<Companions>,
) -> anyhow::Result<Outcome> {
    let databases = sources.databases.len();
    open_files::allow(sources.directories.is_empty().then_some(databases));
    let mut engine = Engine::new(metrics, companions);
    engine.start(sources.databases)?;
    let mut directories = Directories::new(sources.directories, engine.watcher().clone());
    directories.follow_first(&mut engine).await?;
    open_files::check(engine.followed().count());
    // The tasks end when this is dropped.
    let mut watching = JoinSet::new();
    watching.spawn(engine.watchdog().run());
    let mut application = match child.as_deref().map(Application::start).transpose() {
        Ok(application) => application,
        Err(error) => {
            engine.abort();
            engine.end().await?;
            return Err(error);
        }
    };

    let interrupted =
        match run(&mut engine, &mut directories, &mut signals, application.as_mut()).await {
            Ok(Ending::InOrder) => {
                // Databases that the application made last count as well.
                directories.follow(&mut engine).await;
                finish(&mut engine, &mut signals, shutdown_timeout).await
            }
            Ok(Ending::AtOnce) => {
                engine.abort();
                true
            }
            Err(failure) => {
                engine.abort();
                if let Some(application) = &mut application {
                    end_application(application, &mut signals, shutdown_timeout).await?;
                }
                // The first failure is the reason for all others.
                let _ = engine.end().await;
                return Err(failure);
            }
        };
    let mut unreplicated = engine.end().await?;
    unreplicated.extend(directories.unreplicated());
    info!("litestream shut down");
    let child = application.as_mut().and_then(Application::ended);
    let abandoned = application.is_some() && child.is_none();
    Ok(Outcome { child, interrupted, abandoned, unreplicated })
}

/// How replication is to end.
enum Ending {
    /// Everything is captured and sent first.
    InOrder,
    AtOnce,
}

/// Runs until there is a reason to stop.
async fn run(
    engine: &mut Engine,
    directories: &mut Directories,
    signals: &mut Signals,
    mut application: Option<&mut Application>,
) -> anyhow::Result<Ending> {
    loop {
        tokio::select! {
            failure = engine.failure() => return Err(failure),
            () = directories.changed() => directories.follow(engine).await,
            signal = signals.next() => {
                let Some(application) = &application else {
                    info!("signal received, litestream shutting down");
                    return Ok(Ending::InOrder);
                };
                if signals.is_echo() {
                    continue;
                }
                application.signal(signal);
                if signals.is_repeated() {
                    warn!("second signal received, ending at once, whatever the application does");
                    return Ok(Ending::AtOnce);
                }
                info!("signal received, passed on to the application");
            }
            status = ended(&mut application) => {
                info!(status = status?, "the application has ended, litestream shutting down");
                return Ok(Ending::InOrder);
            }
        }
    }
}

/// Ends the application when it is no longer replicated: by force, if that takes too long.
async fn end_application(
    application: &mut Application,
    signals: &mut Signals,
    timeout: Duration,
) -> anyhow::Result<()> {
    application.signal(Signal::TERM);
    tokio::select! {
        ended = application.wait() => return ended.map(drop),
        () = tokio::time::sleep(timeout) => (),
        _ = signals.next() => (),
    }
    warn!("the application takes too long to end, and is killed");
    application.signal(Signal::KILL);
    application.wait().await.map(drop)
}

/// Waits for the end of the application, if there is one.
async fn ended(application: &mut Option<&mut Application>) -> anyhow::Result<i32> {
    match application {
        Some(application) => application.wait().await,
        None => std::future::pending().await,
    }
}

/// A stop that takes longer than this is logged. It also waits for a process that is still writing.
const QUIET_STOP: Duration = Duration::from_secs(6);

/// Lets the engine send what is left. Returns whether a signal cut it short.
async fn finish(engine: &mut Engine, signals: &mut Signals, timeout: Duration) -> bool {
    engine.stop();
    let deadline = tokio::time::sleep(timeout);
    let quiet = tokio::time::sleep(QUIET_STOP);
    tokio::pin!(deadline, quiet);
    let mut said = false;
    loop {
        tokio::select! {
            () = engine.finished() => return false,
            () = &mut quiet, if !said => {
                said = true;
                info!(
                    longest = ?timeout,
                    "waiting until what is left is sent; a second signal ends it at once"
                );
            }
            () = &mut deadline => {
                warn!(?timeout, "stopping takes too long, giving up");
                engine.abort();
                return false;
            }
            _ = signals.next() => {
                if signals.is_repeated() {
                    warn!("second signal received, ending at once");
                    engine.abort();
                    return true;
                }
                // The application had already ended, perhaps because of the same signal.
                info!("signal received, litestream is shutting down already");
            }
        }
    }
}
