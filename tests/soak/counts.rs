use std::collections::BTreeMap;
use std::time::Duration;

/// What one case did, or all of them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// How often the daemon reported that everything was replicated.
    pub(crate) acknowledged: u64,
    /// How often a daemon found nothing wrong with a replica.
    pub(crate) validations: u64,
    pub(crate) restores: Restores,
    pub(crate) bytes: u64,
    pub(crate) slowest_stop: Duration,
    /// The longest time from a second signal to the end.
    pub(crate) slowest_interruption: Duration,
    /// Requests to S3 servers, and those of them that were struck by rules.
    pub(crate) requests: u64,
    pub(crate) requests_struck: u64,
}

/// Restores that gave a database.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restores {
    pub(crate) compared: u64,
    /// How many began while the daemon and the writers were at work.
    pub(crate) live: u64,
    /// How many of these were wrong or failed.
    pub(crate) live_wrong: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        self.acknowledged += other.acknowledged;
        self.validations += other.validations;
        self.restores.compared += other.restores.compared;
        self.restores.live += other.restores.live;
        self.restores.live_wrong += other.restores.live_wrong;
        self.bytes += other.bytes;
        self.slowest_stop = self.slowest_stop.max(other.slowest_stop);
        self.slowest_interruption = self.slowest_interruption.max(other.slowest_interruption);
        self.requests += other.requests;
        self.requests_struck += other.requests_struck;
    }
}
