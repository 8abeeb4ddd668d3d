use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};

use anyhow::{Context, anyhow};
use tokio::sync::{Semaphore, mpsc as queue, watch};
use tokio::task::{JoinError, JoinSet};

use super::message::{Captured, Lines, Mailbox, Message};
use super::metrics::Metrics;
use super::options::{DatabaseOptions, OnDivergence};
use super::outcome::Unreplicated;
use super::replica::Replica;
use super::restoration::take_up_restoration;
use super::staging::Staging;
use super::state_directory::StateDirectory;
use super::tail::{Slot, Tail, follow};
use super::watcher::Watcher;
use crate::store::Connections;

/// How many databases have a thread at a time, whatever their number: enough for those that wait
/// for somebody else's lock.
const THREADS: usize = 16;

/// The tasks of all databases.
#[derive(Debug)]
pub(super) struct Engine {
    tails: JoinSet<anyhow::Result<Vec<Unreplicated>>>,
    replicas: JoinSet<()>,
    mailboxes: Vec<Mailbox>,
    watcher: Watcher,
    connections: Connections,
    threads: Arc<Semaphore>,
    unreplicated: Vec<Unreplicated>,
    failure: Option<anyhow::Error>,
}

impl Engine {
    /// Locks the state directories of all databases, and only then begins.
    pub(super) fn start(
        databases: Vec<DatabaseOptions>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let mut locked = Vec::new();
        for options in databases {
            let state = StateDirectory::lock(&options.state_directory, &options.path)?;
            locked.push((options, state));
        }
        let mut engine = Self {
            tails: JoinSet::new(),
            replicas: JoinSet::new(),
            mailboxes: Vec::new(),
            watcher: Watcher::start(),
            connections: Connections::default(),
            threads: Arc::new(Semaphore::new(THREADS)),
            unreplicated: Vec::new(),
            failure: None,
        };
        for (options, state) in locked {
            let path = options.path.clone();
            engine
                .follow(options, state, metrics)
                .with_context(|| format!("replicate {}", path.display()))?;
        }
        Ok(engine)
    }

    fn follow(
        &mut self,
        options: DatabaseOptions,
        state: StateDirectory,
        all_metrics: &Metrics,
    ) -> anyhow::Result<()> {
        let metrics = all_metrics.database(&options.path);
        let staging: Vec<Staging> = options
            .replicas
            .iter()
            .map(|replica| Staging::new(state.path(), &replica.name))
            .collect();
        take_up_restoration(&options.path, &state, &staging)?;
        let watch = self.watcher.watch(options.path.clone());
        let (sender, inbox) = mpsc::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let mailbox = Mailbox { cancelled: Arc::clone(&cancelled), sender, bell: watch.bell() };
        let (captured, _) = watch::channel(Captured::default());
        let lineage = state.lineage();
        let mut slots = Vec::new();
        for (number, (replica, staging)) in options.replicas.iter().zip(staging).enumerate() {
            if options.on_divergence == OnDivergence::Continue {
                staging.forget_fork()?;
            }
            let (grants, granted) = queue::unbounded_channel();
            slots.push(Slot::new(replica.name.clone(), staging.clone(), grants));
            let replica = Replica {
                number,
                database: options.path.clone(),
                options: replica.clone(),
                connections: self.connections.clone(),
                staging,
                lineage: lineage.clone(),
                captured: captured.subscribe(),
                tail: mailbox.clone(),
                metrics: metrics.replica(&replica.name),
                all_metrics: all_metrics.clone(),
            };
            self.replicas.spawn(replica.run(granted));
        }
        let tail =
            Tail::new(options, state, slots, Lines { inbox, captured, cancelled }, watch, metrics)?;
        self.tails.spawn(follow(tail, Arc::clone(&self.threads)));
        self.mailboxes.push(mailbox);
        Ok(())
    }

    /// Waits until something ends that should not. Can be dropped and called again.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        tokio::select! {
            Some(tail) = self.tails.join_next() => match tail {
                Ok(Ok(_)) => anyhow!("a database is no longer followed"),
                Ok(Err(error)) => error,
                Err(error) => panicked(error),
            },
            // Without an error it ends together with its tail, which then says why.
            Some(Err(error)) = self.replicas.join_next() => panicked(error),
        }
    }

    /// Tells all databases to capture and send what is left.
    pub(super) fn stop(&self) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.send(Message::Stop));
    }

    /// Tells all databases to end now.
    pub(super) fn abort(&self) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.send(Message::Abort));
    }

    /// Waits until all databases have ended. Can be dropped and called again.
    pub(super) async fn finished(&mut self) {
        while let Some(tail) = self.tails.join_next().await {
            match tail {
                Ok(Ok(missing)) => self.unreplicated.extend(missing),
                Ok(Err(error)) => self.failure = Some(error),
                Err(error) => self.failure = Some(panicked(error)),
            }
        }
    }

    /// Ends what is left, and says what is not on every replica.
    pub(super) async fn end(mut self) -> anyhow::Result<Vec<Unreplicated>> {
        self.finished().await;
        self.replicas.shutdown().await;
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.unreplicated),
        }
    }
}

fn panicked(error: JoinError) -> anyhow::Error {
    anyhow::Error::new(error).context("replication failed; please report this as a defect")
}
