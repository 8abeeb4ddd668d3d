use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Wakes the task that follows a database, when the database changed or a message arrived.
#[derive(Debug)]
pub(super) struct Bell {
    calls: Notify,
    changes: Notify,
    attention: Arc<Attention>,
}

impl Bell {
    pub(super) fn new(attention: Arc<Attention>) -> Self {
        Self { calls: Notify::new(), changes: Notify::new(), attention }
    }

    pub(super) fn call(&self) {
        self.calls.notify_one();
    }

    /// The database may have changed.
    pub(super) fn change(&self) {
        self.changes.notify_one();
    }

    /// Waits for a call or for the end of `timeout`, and if `for_changes`, for a change. Returns
    /// whether there may have been a change: at the end of `timeout` that is not known.
    pub(super) async fn wait(&self, timeout: Duration, for_changes: bool) -> bool {
        let _paid = for_changes.then(|| self.attention.pay());
        tokio::select! {
            biased;
            () = self.changes.notified(), if for_changes => true,
            () = self.calls.notified() => false,
            () = tokio::time::sleep(timeout) => for_changes,
        }
    }
}

/// How many tasks wait for a change. While none does, none has to be notified: a database that is
/// written to all the time is looked at in its interval, notified or not.
#[derive(Debug, Default)]
pub(super) struct Attention {
    paid: Mutex<usize>,
    grown: Condvar,
}

/// Counts as waiting for a change until it is dropped.
struct Paid<'a>(&'a Attention);

impl Attention {
    fn pay(&self) -> Paid<'_> {
        *self.locked() += 1;
        self.grown.notify_one();
        Paid(self)
    }

    /// Blocks until a task waits for a change, and for `longest` at most. Returns whether one does.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let paid = self.locked();
        let waited = self.grown.wait_timeout_while(paid, longest, |paid| *paid == 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn locked(&self) -> MutexGuard<'_, usize> {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Paid<'_> {
    fn drop(&mut self) {
        *self.0.locked() -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_hours(1);

    /// On a network file system, or where the system is out of watches, a daemon that relied on
    /// notifications would never look at the log again.
    #[tokio::test]
    async fn lets_one_look_when_the_time_is_up_although_nothing_was_told() {
        let bell = Bell::new(Arc::default());
        assert!(bell.wait(SOON, true).await);
        assert!(!bell.wait(SOON, false).await);
    }

    #[tokio::test]
    async fn a_change_is_kept_until_it_is_waited_for() {
        let bell = Bell::new(Arc::default());
        bell.change();
        bell.call();
        assert!(!bell.wait(NEVER, false).await, "only called");
        assert!(bell.wait(NEVER, true).await);
        bell.call();
        assert!(!bell.wait(NEVER, true).await, "only called");
    }

    #[tokio::test]
    async fn attention_is_paid_while_somebody_waits_for_a_change() {
        let attention = Arc::new(Attention::default());
        let bell = Bell::new(Arc::clone(&attention));
        assert!(!attention.wait(SOON));
        {
            let waiting = bell.wait(NEVER, true);
            tokio::pin!(waiting);
            assert!(tokio::time::timeout(SOON, &mut waiting).await.is_err());
            assert!(attention.wait(NEVER));
        }
        assert!(!attention.wait(SOON));
    }
}
