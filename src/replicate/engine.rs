mod anew;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};

use anyhow::{Context, anyhow, bail};
use tokio::sync::{Semaphore, mpsc as queue, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{error, warn};

use super::bell::Bell;
use super::cancellation::Cancellation;
use super::mender::Mender;
use super::message::{Captured, Lines, Mailbox, Message};
use super::metrics::Metrics;
use super::open_files;
use super::opened::OpenFiles;
use super::options::{DatabaseOptions, OnDivergence};
use super::outcome::Unreplicated;
use super::places::Places;
use super::refusals::Refusals;
use super::renaming::take_up_names;
use super::replica::Replica;
use super::restoration::{RestoredMeanwhile, take_up_restoration};
use super::staging::Staging;
use super::state_directory::StateDirectory;
use super::tail::{Slot, Tail, follow};
use super::watchdog::Watchdog;
use super::watcher::{Watch, Watcher};
use crate::sqlite::FileId;
use crate::store::Connections;
use anew::{ANEW_INTERVAL, Waiting};

/// How many databases have a thread at a time, however many there are: enough even if some of them
/// wait for another process's lock.
const THREADS: usize = 16;

/// How many databases are started at a time. A snapshot takes files and memory that a database
/// gives back when it is at rest.
const STARTS: usize = 64;

/// Starts the other tasks that run while a database is followed. They end when the returned value
/// is dropped.
pub type Companions = dyn Fn(&DatabaseOptions, Mender) -> JoinSet<()> + Send + Sync;

/// The tasks of all databases.
pub(super) struct Engine {
    followed: HashMap<PathBuf, Followed>,
    places: Places,
    tails: JoinSet<(PathBuf, anyhow::Result<Vec<Unreplicated>>)>,
    replicas: JoinSet<()>,
    watcher: Watcher,
    watchdog: Watchdog,
    connections: Connections,
    starts: Arc<Semaphore>,
    threads: Arc<Semaphore>,
    refusals: Arc<Refusals>,
    opened: OpenFiles,
    metrics: Arc<Metrics>,
    companions: Box<Companions>,
    /// Databases that were restored, and could not be followed again yet.
    waiting: Vec<Waiting>,
    unreplicated: Vec<Unreplicated>,
    failure: Option<anyhow::Error>,
    /// Called when a database that was gone is no longer followed.
    released: Option<Arc<Bell>>,
}

/// A database that is followed.
struct Followed {
    options: DatabaseOptions,
    mailbox: Mailbox,
    _companions: JoinSet<()>,
    /// It was added after the start. Whatever is wrong with it, the others go on.
    late: bool,
    /// It is gone. Once what was captured of it is sent, it is no longer followed.
    retired: bool,
}

impl Engine {
    pub(super) fn new(metrics: Arc<Metrics>, companions: Box<Companions>) -> Self {
        Self {
            followed: HashMap::new(),
            places: Places::default(),
            tails: JoinSet::new(),
            replicas: JoinSet::new(),
            watcher: Watcher::start(),
            watchdog: Watchdog::default(),
            connections: Connections::default(),
            starts: Arc::new(Semaphore::new(STARTS)),
            threads: Arc::new(Semaphore::new(THREADS)),
            refusals: Arc::default(),
            opened: OpenFiles::default(),
            metrics,
            companions,
            waiting: Vec::new(),
            unreplicated: Vec::new(),
            failure: None,
            released: None,
        }
    }

    /// Calls `bell` whenever a database that was gone is no longer followed.
    pub(super) fn tell_of_ends(&mut self, bell: Arc<Bell>) {
        self.released = Some(bell);
    }

    pub(super) fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    pub(super) fn watchdog(&self) -> Watchdog {
        self.watchdog.clone()
    }

    pub(super) fn followed(&self) -> impl Iterator<Item = &Path> {
        self.followed.keys().map(PathBuf::as_path)
    }

    /// The database files that are open. They may have other names now, or none that is followed.
    pub(super) fn open_files(&self) -> Vec<FileId> {
        self.opened.ids()
    }

    /// The metrics of all databases.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Follows databases. The state directories of all of them are locked before any is started.
    pub(super) fn start(&mut self, databases: Vec<DatabaseOptions>) -> anyhow::Result<()> {
        open_files::expect_enough(self.followed.len() + databases.len())?;
        let mut locked = Vec::new();
        for options in databases {
            self.places.claim(&options)?;
            let state = StateDirectory::lock(&options.state_directory, &options.path)?;
            locked.push((options, state));
        }
        for (options, _) in &locked {
            self.refusals.add(&options.path);
        }
        for (options, state) in locked {
            self.begin(options, state, false)?;
        }
        Ok(())
    }

    /// Begins to follow one more database. If that fails, the others are not affected.
    pub(super) fn add(&mut self, options: DatabaseOptions) -> anyhow::Result<()> {
        open_files::expect_enough(self.followed.len() + 1)?;
        self.places.claim(&options)?;
        let path = options.path.clone();
        let state = StateDirectory::lock(&options.state_directory, &path);
        let begun = state.and_then(|state| self.begin(options, state, true));
        begun.inspect_err(|_| drop(self.forget(&path)))
    }

    /// Stops following a database that is gone, once what was captured of it is sent.
    pub(super) fn retire(&mut self, path: &Path) {
        if let Some(followed) = self.followed.get_mut(path) {
            followed.retired = true;
            followed.mailbox.send(Message::Stop);
        }
    }

    fn begin(
        &mut self,
        options: DatabaseOptions,
        state: StateDirectory,
        late: bool,
    ) -> anyhow::Result<()> {
        let path = options.path.clone();
        self.refusals.add(&path);
        // It is sent now.
        self.unreplicated.retain(|missing| missing.database != path);
        let watch = self.watcher.watch(path.clone());
        let (sender, inbox) = mpsc::channel();
        let mailbox = Mailbox { cancellation: Cancellation::default(), sender, bell: watch.bell() };
        let companions = (self.companions)(&options, Mender::new(mailbox.clone()));
        self.follow(options.clone(), state, watch, (&mailbox, inbox))
            .with_context(|| format!("replicate {}", path.display()))?;
        let followed = Followed { options, mailbox, _companions: companions, late, retired: false };
        self.followed.insert(path, followed);
        Ok(())
    }

    fn forget(&mut self, path: &Path) -> Option<Followed> {
        self.places.release(path);
        self.watchdog.remove(path);
        self.refusals.remove(path);
        self.metrics.forget(path);
        self.followed.remove(path)
    }

    fn follow(
        &mut self,
        options: DatabaseOptions,
        state: StateDirectory,
        watch: Watch,
        (mailbox, inbox): (&Mailbox, mpsc::Receiver<Message>),
    ) -> anyhow::Result<()> {
        let metrics = self.metrics.database(&options.path);
        if let Err(error) = take_up_names(state.path(), &options.replicas) {
            warn!(db = %options.path.display(), "cannot note where the replicas are: {error}");
        }
        let staging: Vec<Staging> = options
            .replicas
            .iter()
            .map(|replica| Staging::new(state.path(), &replica.name))
            .collect();
        take_up_restoration(&options.path, &state, &staging)?;
        self.watchdog.add(&options, &metrics, &watch.bell());
        let (captured, _) = watch::channel(Captured::default());
        let lineage = state.lineage();
        let all_staging: Arc<[Staging]> = staging.clone().into();
        let mut slots = Vec::with_capacity(staging.len());
        for (number, (replica, staging)) in options.replicas.iter().zip(staging).enumerate() {
            match options.on_divergence {
                OnDivergence::Continue => staging.forget_fork()?,
                OnDivergence::Stop => expect_no_fork(&options.path, &replica.name, &staging)?,
                OnDivergence::Fork => (),
            }
            let (grants, granted) = queue::unbounded_channel();
            slots.push(Slot::new(replica.name.clone(), staging.clone(), grants));
            let replica = Replica {
                number,
                database: options.path.clone(),
                options: replica.clone(),
                restore_arguments: options.restore_arguments(replica),
                connections: self.connections.clone(),
                staging,
                all_staging: Arc::clone(&all_staging),
                lineage: lineage.clone(),
                forced: options.on_divergence == OnDivergence::Continue,
                reached: AtomicBool::new(false),
                captured: captured.subscribe(),
                tail: mailbox.clone(),
                metrics: metrics.replica(&replica.name),
                all_metrics: self.metrics.as_ref().clone(),
            };
            self.replicas.spawn(replica.run(granted));
        }
        let path = options.path.clone();
        let tail = Tail::new(
            options,
            state,
            slots,
            Lines {
                inbox,
                captured,
                cancellation: mailbox.cancellation.clone(),
                opened: self.opened.clone(),
                refusals: Arc::clone(&self.refusals),
            },
            watch,
            metrics,
        )?;
        let (starts, threads) = (Arc::clone(&self.starts), Arc::clone(&self.threads));
        self.tails.spawn(async move { (path, follow(tail, starts, threads).await) });
        Ok(())
    }

    /// Waits until something ends that should go on. Can be dropped and called again.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        loop {
            tokio::select! {
                Some(tail) = self.tails.join_next() => match tail {
                    Ok((path, Ok(missing))) => {
                        if self.followed.get(&path).is_none_or(|followed| !followed.retired) {
                            return anyhow!("{} is no longer followed", path.display());
                        }
                        self.unreplicated.extend(missing);
                        self.forget(&path);
                        if let Some(bell) = &self.released {
                            bell.call();
                        }
                    }
                    Ok((path, Err(error))) => {
                        if let Err(error) = self.take_end(&path, error) {
                            return error;
                        }
                    }
                    Err(error) => return panicked(error),
                },
                // A replica that does not panic ends together with its tail, which then says why.
                Some(ended) = self.replicas.join_next() => match ended {
                    Ok(()) => (),
                    Err(error) => return panicked(error),
                },
                () = sleep(ANEW_INTERVAL), if !self.waiting.is_empty() => self.begin_waiting(),
                else => std::future::pending().await,
            }
        }
    }

    /// Handles the end of one database. Returns the error if it is to end all others as well.
    fn take_end(&mut self, path: &Path, error: anyhow::Error) -> anyhow::Result<()> {
        let late = self.is_late(path);
        match error.downcast() {
            Ok(RestoredMeanwhile) => self.begin_anew(path),
            Err(error) if late => {
                error!(db = %path.display(), "no longer followed, will retry: {error:#}");
                self.forget(path);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn is_late(&self, path: &Path) -> bool {
        self.followed.get(path).is_some_and(|followed| followed.late)
    }

    /// Tells all databases to capture and send what is left.
    pub(super) fn stop(&self) {
        self.tell(&Message::Stop);
    }

    /// Tells all databases to end now.
    pub(super) fn abort(&self) {
        self.tell(&Message::Abort);
    }

    fn tell(&self, message: &Message) {
        for followed in self.followed.values() {
            followed.mailbox.send(message.clone());
        }
    }

    /// Waits until all databases have ended. Can be dropped and called again.
    pub(super) async fn finished(&mut self) {
        while let Some(tail) = self.tails.join_next().await {
            match tail {
                Ok((_, Ok(missing))) => self.unreplicated.extend(missing),
                Ok((path, Err(error)))
                    if self.is_late(&path) || error.is::<RestoredMeanwhile>() =>
                {
                    let reason = format!("{error:#}");
                    self.unreplicated.push(Unreplicated::not_followed(&path, reason));
                }
                Ok((_, Err(error))) => self.failure = Some(error),
                Err(error) => self.failure = Some(panicked(error)),
            }
        }
    }

    /// Ends what is left, and returns what is not on every replica.
    pub(super) async fn end(mut self) -> anyhow::Result<Vec<Unreplicated>> {
        self.finished().await;
        self.replicas.shutdown().await;
        self.unreplicated.extend(self.waiting.iter().map(Waiting::unreplicated));
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.unreplicated),
        }
    }
}

/// Fails if a database is replicated to a fork, from the time before `on-divergence` was "stop".
fn expect_no_fork(database: &Path, replica: &str, staging: &Staging) -> anyhow::Result<()> {
    let Some(fork) = staging.fork()? else { return Ok(()) };
    bail!(
        "{} does not continue what replica {replica} holds, is replicated to fork {fork} of it, and \
         on-divergence is \"stop\": restore the database with -force, or start once with \
         -on-divergence continue to let it take the place of that history",
        database.display()
    )
}

fn panicked(error: JoinError) -> anyhow::Error {
    anyhow::Error::new(error).context("replication failed; please report this as a defect")
}
