use std::time::{Duration, Instant};

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// When a snapshot was tried, and when it may be next.
#[derive(Debug)]
pub(in crate::replicate::tail) struct Snapshots {
    /// Those that could not be taken since one was last stored.
    pub(in crate::replicate::tail) failures: u32,
    pub(in crate::replicate::tail) next: Instant,
    /// Until when to wait for the replicas that had joined the previous generation.
    pub(in crate::replicate::tail) gather_until: Option<Instant>,
    /// The first one of the last generation could not be stored, which has been logged.
    pub(in crate::replicate::tail) unstored: bool,
}

impl Snapshots {
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, next: now, gather_until: None, unstored: false }
    }

    /// Takes note that one could not be taken. Each pause is longer than the one before.
    pub(in crate::replicate::tail) fn failed(&mut self, now: Instant) {
        self.failures += 1;
        self.next = now + (Duration::from_millis(100) * self.failures).min(PAUSE_MAX);
    }

    /// Takes note that one was stored. Returns whether that is the first one after some could not
    /// be.
    pub(in crate::replicate::tail) fn stored(&mut self) -> bool {
        self.failures = 0;
        std::mem::take(&mut self.unstored)
    }
}
