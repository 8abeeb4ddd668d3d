//! One replica: sends what is staged for it, in order, and keeps its history within bounds.

mod asked;
mod before;
mod company;
mod conditions;
mod counted_store;
mod failures;
mod maintenance;
mod patience;
mod reconcile;
mod root;
mod sending;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::durable::Durability;
use super::message::SnapshotFailure::NotTaken;
use super::message::{Captured, Grant, Mailbox, Message, Report};
use super::metrics::{Metrics, ReplicaMetrics};
use super::options::ReplicaOptions;
use super::sent::Sent;
use super::staging::Staging;
use super::tip::Tip;
use crate::format::{Generation, Key, Link};
use crate::store::Connections;
use asked::{Asked, is_outdated};
use before::Before;
use company::Company;
use counted_store::CountedStore;
use failures::Failures;
use maintenance::Maintenance;
use patience::Patience;
use reconcile::Holding;
use sending::Due;

/// What storing a snapshot is called in the log when it fails.
const STORING: &str = "storing a snapshot";

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Sends what its database's tail staged for it.
///
/// What there is to do is in the staging directory. It is sent strictly in order and one object at
/// a time, because the history of a replica must never have a hole, not even for a moment.
///
/// Its small files are read and written on this task, though that blocks for a moment: the task may
/// be dropped wherever it waits, and a file call in another thread would go on after that,
/// alongside the calls that follow.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) number: usize,
    pub(super) database: PathBuf,
    pub(super) options: ReplicaOptions,
    /// The arguments with which `restore` puts the replica in the place of the database.
    pub(super) restore_arguments: String,
    pub(super) connections: Connections,
    pub(super) staging: Staging,
    /// The staging directories of all replicas of the database.
    pub(super) all_staging: Arc<[Staging]>,
    /// The file with the generations that are ours.
    pub(super) lineage: PathBuf,
    /// Whether the database takes the place of whatever the replica holds.
    pub(super) forced: bool,
    /// Whether its store has accepted anything from us.
    pub(super) reached: AtomicBool,
    pub(super) captured: watch::Receiver<Captured>,
    pub(super) tail: Mailbox,
    pub(super) metrics: ReplicaMetrics,
    pub(super) all_metrics: Metrics,
}

/// A replica that can be reached.
#[derive(Debug)]
struct Connected {
    replica: Replica,
    store: CountedStore,
    /// What the tail grants us.
    grants: mpsc::UnboundedReceiver<Grant>,
    /// The generation that the replica holds, and the link of its newest segment.
    tip: Option<(Generation, Link)>,
    /// What the replica held when we asked for the snapshot with which it is to join a generation.
    before: Option<Before>,
    company: Company,
    /// The snapshot that we have asked for and not got yet.
    asked: Option<Asked>,
    last_sent: Option<Instant>,
    /// The check for conditional writes is done: answered, or impossible.
    conditions_checked: bool,
    /// Snapshots that could not be stored.
    snapshot_failures: Failures,
    /// The pauses after failures to use the state directory.
    staging_pause: Backoff,
    maintenance: Maintenance,
}

impl Replica {
    /// Whether `generation` is the one that is being captured.
    fn is_current(&self, generation: Generation) -> bool {
        self.captured.borrow().generation == Some(generation)
    }

    /// Runs until the tail has ended.
    pub(super) async fn run(self, grants: mpsc::UnboundedReceiver<Grant>) {
        let mut captured = self.captured.clone();
        tokio::select! {
            () = self.work(grants) => (),
            // Whatever `work` waits for.
            () = async { while captured.changed().await.is_ok() {} } => (),
        }
    }

    async fn work(self, grants: mpsc::UnboundedReceiver<Grant>) {
        // Until the replica is reached, all that is known to be missing is what an earlier process
        // staged.
        let staged = self.staging.all().unwrap_or_default();
        let oldest = staged.iter().map(|staged| staged.since).min();
        self.metrics.set_oldest_unreplicated(Some(oldest.unwrap_or_else(SystemTime::now)));
        let store = self.connect().await;
        let patience =
            Patience { database: self.database.clone(), name: self.options.name.clone() };
        let root = self.root(&store).await;
        let store = CountedStore::new(store, root, self.all_metrics.clone(), patience);
        let mut connected = Connected {
            maintenance: Maintenance::new(&self.options),
            replica: self,
            store,
            grants,
            tip: None,
            before: None,
            company: Company::default(),
            asked: None,
            last_sent: None,
            conditions_checked: false,
            snapshot_failures: Failures::insisting(STORING),
            staging_pause: Backoff::new(PAUSE_MAX),
        };
        connected.probe().await;
        connected.check_conditions().await;
        connected.replica.metrics.set_oldest_unreplicated(None);
        // Until the tail has looked at the database, it is not known whether a generation goes on.
        if connected.replica.captured.changed().await.is_ok() {
            while connected.step().await {}
        }
    }

    fn report(&self, report: Report) {
        self.reached.fetch_or(report.shows_use(), Ordering::Relaxed);
        self.tail.send(Message::Report { replica: self.number, report });
    }
}

impl Connected {
    /// Does what there is to do, and waits until there may be more. Returns `false` when the tail
    /// has ended.
    async fn step(&mut self) -> bool {
        let captured = *self.replica.captured.borrow_and_update();
        if !captured.known {
            return self.replica.captured.changed().await.is_ok();
        }
        if let Err(error) = self.send_all(captured).await {
            error!(
                db = %self.replica.database.display(), name = self.replica.options.name,
                "cannot use the state directory, will retry: {error:#}",
            );
            tokio::time::sleep(self.staging_pause.pause(fastrand::f64())).await;
            return true;
        }
        self.staging_pause = Backoff::new(PAUSE_MAX);
        if captured.stopping {
            self.settle().await;
        }
        let due = self.maintenance.due();
        tokio::select! {
            changed = self.replica.captured.changed() => match changed {
                Ok(()) => self.keep_interval().await,
                Err(_) => return false,
            },
            grant = self.grants.recv() => match grant {
                Some(grant) => self.take(grant).await,
                None => return false,
            },
            () = sleep_until(due) => {
                let stopping = stopping(&self.replica);
                let expired = tokio::select! {
                    expired = self.maintain(captured) => expired,
                    () = stopping => return true,
                };
                self.delete_expired(&expired).await;
            }
        }
        true
    }

    /// Sends every staged segment, those of generations that have ended first.
    async fn send_all(&mut self, captured: Captured) -> anyhow::Result<()> {
        for generation in self.replica.staging.generations()? {
            if Some(generation) != captured.generation {
                self.send_rest_of(generation).await?;
            }
        }
        if matches!(self.asked, Some(Asked::Another(of)) if Some(of) != captured.generation) {
            // The snapshot will never come.
            self.asked = None;
        }
        let Some(generation) = captured.generation else {
            self.ask_for_snapshot().await;
            // Without a database there is nothing that the replica could lack.
            let metrics = &self.replica.metrics;
            let since = || metrics.oldest_unreplicated().unwrap_or_else(SystemTime::now);
            metrics.set_oldest_unreplicated(captured.present.then(since));
            return Ok(());
        };
        if self.tip.is_none_or(|(of, _)| of != generation) && self.asked.is_none() {
            self.reconcile(generation, captured.link).await?;
        }
        if self.tip.is_some_and(|(of, _)| of == generation) {
            self.send_segments(generation, Due::All).await?;
            self.notice_loss(generation).await?;
        }
        Ok(())
    }

    /// Asks for a snapshot if segments were dropped because too many were waiting. The replica is
    /// looked at first: another daemon may have continued what it has, and our snapshot would hide
    /// that.
    async fn notice_loss(&mut self, generation: Generation) -> anyhow::Result<()> {
        // In this order: what is captured is staged before it is published.
        let captured = *self.replica.captured.borrow();
        let nothing_staged = self.replica.staging.segments(generation)?.is_empty();
        let tip = Some((generation, captured.link));
        if captured.generation == Some(generation) && nothing_staged && self.tip != tip {
            self.tip = None;
            if matches!(self.asked, Some(Asked::Another(_))) {
                // That snapshot was to follow what is lost, and would be stored without a look at
                // the replica.
                self.asked = None;
            }
            self.ask_for_snapshot().await;
        } else {
            self.replica.metrics.set_oldest_unreplicated(None);
        }
        Ok(())
    }

    /// Sends what is left of a generation that has ended, if it still follows what the replica has.
    async fn send_rest_of(&mut self, generation: Generation) -> anyhow::Result<()> {
        if self.tip.is_none_or(|(of, _)| of != generation) {
            match self.holding(generation, None).await? {
                Holding::Holds(link) => self.tip = Some((generation, link)),
                Holding::Lacks | Holding::Diverged(_) => {
                    return Ok(self.replica.staging.discard(generation)?);
                }
            }
        }
        self.send_segments(generation, Due::All).await?;
        self.replica.staging.discard(generation)?;
        self.tip = None;
        Ok(())
    }

    /// Finds out whether the replica holds what was sent to it of the current generation.
    async fn reconcile(&mut self, generation: Generation, link: Link) -> anyhow::Result<()> {
        match self.holding(generation, Some(link)).await? {
            Holding::Holds(link) => {
                info!(
                    db = %self.replica.database.display(), name = self.replica.options.name,
                    %generation, position = %self.replica.captured.borrow().pos,
                    "replica goes on",
                );
                self.tip = Some((generation, link));
                self.replica.report(Report::Holds(generation));
            }
            Holding::Lacks => self.ask_for_snapshot().await,
            Holding::Diverged(reason) => {
                self.diverged(generation, reason).await;
            }
        }
        Ok(())
    }

    /// Gives back snapshots that cannot be stored now: while one waits, the log cannot be
    /// checkpointed, and would grow until the store can be reached again.
    fn decline_snapshots(&mut self) {
        while let Ok(grant) = self.grants.try_recv() {
            self.asked = None;
            if let Grant::Snapshot { snapshot, .. } | Grant::Fork(snapshot) = grant {
                self.snapshot_failed(snapshot.seal.generation, NotTaken);
            }
        }
    }

    /// Asks for a snapshot, once the store has answered: while one is being stored, the database
    /// cannot be checkpointed.
    async fn ask_for_snapshot(&mut self) {
        if self.asked.is_none() {
            let metrics = &self.replica.metrics;
            let since = metrics.oldest_unreplicated().unwrap_or_else(SystemTime::now);
            metrics.set_oldest_unreplicated(Some(since));
            let newest = self.probe_newest().await;
            self.recognize(newest);
            self.asked = Some(Asked::First(newest));
            self.replica.report(Report::WantsSnapshot(newest.map(Box::new)));
        }
    }

    /// Takes note of the last segment that was sent, if it is in the store and only the answer was
    /// lost.
    fn recognize(&self, newest: Option<Tip>) {
        let newest = newest.and_then(|newest| newest.seal).as_ref().map(Sent::of);
        if let Some(sent) = newest.filter(|_| newest == self.company.on_its_way) {
            self.note_sent(sent);
        }
    }

    /// Takes note of what the replica has from us. Without the note we may not recognize it later.
    fn note_sent(&self, sent: Sent) {
        if let Err(error) = self.replica.staging.note_sent(sent, Durability::Power) {
            warn!(name = self.replica.options.name, "cannot take note of what was sent: {error}");
        }
    }

    /// Asks for another snapshot of a generation that the replica holds.
    fn ask_for_another(&mut self, generation: Generation) {
        self.asked = Some(Asked::Another(generation));
        self.replica.report(Report::WantsAnother(generation));
    }

    /// Reports that the replica holds something other than what was sent to it, and asks for a
    /// snapshot.
    async fn diverged(&mut self, generation: Generation, reason: String) {
        self.tip = None;
        self.replica.report(Report::Diverged(generation, reason));
        // Another snapshot may have been asked for already, without a look at the replica.
        self.asked = None;
        self.ask_for_snapshot().await;
    }

    async fn take(&mut self, grant: Grant) {
        match grant {
            Grant::Snapshot { snapshot, .. } if self.holds(snapshot.seal.generation) => {
                self.store_unless_stopping(*snapshot).await;
            }
            // What we have asked for since is still to come.
            Grant::Snapshot { snapshot, tip } if is_outdated(self.asked, tip) => {
                self.snapshot_failed(snapshot.seal.generation, NotTaken);
            }
            Grant::Snapshot { snapshot, .. } => self.store_snapshot(*snapshot).await,
            // Nothing would ever be sent to that fork, but all that follows would be looked for
            // there.
            Grant::Fork(snapshot) if !self.replica.is_current(snapshot.seal.generation) => {
                self.snapshot_failed(snapshot.seal.generation, NotTaken);
            }
            Grant::Fork(snapshot) => {
                let generation = snapshot.seal.generation;
                if let Err(error) = self.replica.staging.note_fork(generation) {
                    error!(name = self.replica.options.name, "cannot take note of a fork: {error}");
                    self.asked = None;
                    return self.replica.report(Report::SnapshotFailed(generation, NotTaken));
                }
                self.replica.announce_fork(generation);
                self.store.move_to(Key::fork_root(generation));
                self.company = Company::default();
                self.store_snapshot(*snapshot).await;
            }
            // What the replica holds is then looked up before anything is sent.
            Grant::Continuation => {
                (self.asked, self.tip) = (None, None);
                // No snapshot is needed any more.
                self.snapshot_failures = Failures::insisting(STORING);
            }
        }
    }
}

/// Waits until the tail is stopping.
fn stopping(replica: &Replica) -> impl Future<Output = ()> + use<> {
    let mut captured = replica.captured.clone();
    async move {
        let _ = captured.wait_for(|captured| captured.stopping).await;
    }
}
