use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tracing::{error, warn};

use super::{Connected, PAUSE_MAX, Replica};
use crate::replicate::backoff::Backoff;
use crate::replicate::message::Report;
use crate::replicate::metrics::ReplicaMetrics;
use crate::store::{self, StoreError};

/// How often something failed, and what was said about it. Ends when it succeeds.
#[derive(Debug)]
pub(super) struct Failures {
    what: &'static str,
    backoff: Backoff,
    count: u32,
    /// It is tried again at once.
    insisting: bool,
    logged: Option<Instant>,
    /// Those of the replica, which say what is wrong until it succeeds.
    metrics: Option<ReplicaMetrics>,
    /// They say that its store refuses this.
    refused: bool,
}

/// While something goes on failing, it is said so this often.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

impl Failures {
    /// Begins to count failures of one thing that is tried until it succeeds.
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            backoff: Backoff::new(PAUSE_MAX),
            count: 0,
            insisting: false,
            logged: None,
            metrics: None,
            refused: false,
        }
    }

    /// The same for what is tried again whatever comes of it, and not given up in between.
    pub(super) fn insisting(what: &'static str) -> Self {
        let mut failures = Self::new(what);
        failures.insisting = true;
        failures
    }

    /// Says what went wrong, though not every time, and waits before the next attempt.
    pub(super) async fn wait(&mut self, replica: &Replica, error: &StoreError) {
        self.count += 1;
        // At the start that may be the end of the daemon, and then is said by that.
        let is_first =
            self.insisting && self.count == 1 && matches!(error, StoreError::Rejected(_));
        let may_end = is_first && !replica.reached.load(Ordering::Relaxed);
        if !may_end && self.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            self.say(replica, error);
        }
        if let StoreError::Rejected(_) = error {
            if self.count == 1 {
                replica.report(Report::Rejected(error.to_string()));
            }
            // What is not tried again at once says nothing of how it is now.
            self.refused |= self.count > 1;
        }
        if self.refused {
            replica.metrics.set_refused(true);
        }
        replica.metrics.set_error(Some(error.to_string()));
        self.metrics = Some(replica.metrics.clone());
        tokio::time::sleep(self.backoff.pause(fastrand::f64())).await;
    }

    fn say(&self, replica: &Replica, error: &StoreError) {
        let Replica { database, options, staging, .. } = replica;
        let staged = staging.all().unwrap_or_default();
        let oldest = staged.iter().map(|staged| staged.since).min();
        let behind = oldest.map(|since| since.elapsed().unwrap_or_default().as_secs());
        let (db, name, what, failures) = (database.display(), &options.name, self.what, self.count);
        if matches!(error, StoreError::Unavailable(_)) {
            warn!(%db, name, failures, seconds_behind = behind, "{what} failed, will retry: {error}");
        } else {
            error!(
                %db, name, failures, seconds_behind = behind,
                "{what} failed, and is tried again: {error}"
            );
        }
    }
}

impl Replica {
    /// Asks the store until it answers.
    pub(super) async fn insist<'a, T>(
        &self,
        what: &'static str,
        ask: impl Fn() -> BoxFuture<'a, store::Result<T>>,
    ) -> T {
        let mut failures = Failures::insisting(what);
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => failures.wait(self, &error).await,
            }
        }
    }
}

impl Connected {
    /// Asks the store until it answers, and lets nobody wait for a snapshot meanwhile.
    pub(super) async fn insist<T>(
        &mut self,
        what: &'static str,
        ask: impl Fn(&mut Self) -> BoxFuture<'_, store::Result<T>>,
    ) -> T {
        let mut failures = Failures::insisting(what);
        loop {
            match ask(self).await {
                Ok(answer) => return answer,
                Err(error) => {
                    failures.wait(&self.replica, &error).await;
                    self.decline_snapshots();
                }
            }
        }
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        if let Some(metrics) = &self.metrics {
            metrics.set_error(None);
            if self.refused {
                metrics.set_refused(false);
            }
        }
    }
}
