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

/// How often an operation failed, and when that was logged. Dropped when the operation succeeds.
#[derive(Debug)]
pub(super) struct Failures {
    what: &'static str,
    backoff: Backoff,
    count: u32,
    /// The operation is retried after each pause until it succeeds.
    insisting: bool,
    logged: Option<Instant>,
    /// The metrics of the replica, which show the error until this is dropped.
    metrics: Option<ReplicaMetrics>,
    /// The metrics show that the store refuses the operation.
    refused: bool,
}

/// How often a lasting failure is logged again.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

impl Failures {
    /// Begins to count failures of an operation that is given up when it fails, until it is due
    /// again.
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

    /// Begins to count failures of an operation that is retried until it succeeds.
    pub(super) fn insisting(what: &'static str) -> Self {
        let mut failures = Self::new(what);
        failures.insisting = true;
        failures
    }

    /// Whether the operation has failed since it last succeeded.
    pub(super) fn has_failed(&self) -> bool {
        self.count > 0
    }

    /// Logs what went wrong, though not every time, and waits before the next attempt.
    pub(super) async fn wait(&mut self, replica: &Replica, error: &StoreError) {
        self.count += 1;
        // At the start a rejection may end the daemon, and is then logged as the reason.
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
            // One rejection alone does not count: an operation that is not retried would not show
            // when that has passed.
            self.refused |= self.count > 1;
        }
        if self.refused {
            replica.metrics.set_refused(true);
        }
        replica.metrics.set_error(self.what, Some(error.to_string()));
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
    /// Asks the store until it answers, and declines snapshots meanwhile.
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
            metrics.set_error(self.what, None);
            if self.refused {
                metrics.set_refused(false);
            }
        }
    }
}
