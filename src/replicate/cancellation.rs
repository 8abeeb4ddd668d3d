use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels long operations in other threads. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    pub(super) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails once it was cancelled.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_cancelled() {
            return Err(io::Error::other("it is no longer wanted"));
        }
        Ok(())
    }
}
