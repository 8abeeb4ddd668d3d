use std::time::{Duration, Instant};

use crate::replicate::checkpoint::{CheckpointPolicy, Effort, LogAge};

/// How often a checkpoint is tried until one was complete.
const FRESH_INTERVAL: Duration = Duration::from_secs(1);

/// When the log was checkpointed, and when it is to be next.
#[derive(Debug)]
pub(in crate::replicate::tail) struct Checkpoints {
    policy: CheckpointPolicy,
    last: Instant,
    last_complete: Instant,
    /// Incomplete checkpoints since the last complete one.
    pub(in crate::replicate::tail) failures: u32,
    /// There has been no complete checkpoint since the database was opened.
    pub(in crate::replicate::tail) fresh: bool,
    /// When we last logged who keeps the log from being emptied.
    pub(in crate::replicate::tail) named_readers: Option<Instant>,
}

impl Checkpoints {
    pub(super) fn new(policy: CheckpointPolicy, now: Instant) -> Self {
        let (last, last_complete) = (now, now);
        Self { policy, last, last_complete, failures: 0, fresh: true, named_readers: None }
    }

    pub(in crate::replicate::tail) fn begin(&mut self, now: Instant) {
        self.last = now;
    }

    /// Takes note of the end of the one that began at `began`.
    pub(in crate::replicate::tail) fn end(&mut self, began: Instant, complete: bool) {
        if complete {
            self.last_complete = began;
            self.failures = 0;
            self.fresh = false;
        } else {
            self.failures += 1;
        }
    }

    pub(in crate::replicate::tail) fn since_last(&self, now: Instant) -> Duration {
        now - self.last
    }

    /// Whether to checkpoint now, and how hard to try. `pages` of the log may be missing in the
    /// database file.
    pub(in crate::replicate::tail) fn effort(&self, pages: u64, now: Instant) -> Option<Effort> {
        let effort = self.policy.effort(self.log_age(pages, now));
        if self.fresh {
            // Until a checkpoint was complete once, the log could be restarted as soon as we end.
            let due = self.failures == 0 || self.since_last(now) >= FRESH_INTERVAL;
            return due.then_some(effort.unwrap_or(Effort::Gentle));
        }
        effort
    }

    /// How long until a checkpoint is due, unless the log changes. `None`: never.
    pub(in crate::replicate::tail) fn until_due(
        &self,
        pages: u64,
        now: Instant,
    ) -> Option<Duration> {
        if self.fresh {
            return Some(FRESH_INTERVAL);
        }
        self.policy.until_due(self.log_age(pages, now))
    }

    fn log_age(&self, pages: u64, now: Instant) -> LogAge {
        LogAge {
            pages,
            since_complete: now - self.last_complete,
            since_try: self.since_last(now),
            failures: self.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoints(now: Instant) -> Checkpoints {
        let (interval, pages_min, pages_max) = (Duration::from_mins(1), 1000, 10_000);
        Checkpoints::new(CheckpointPolicy { interval, pages_min, pages_max }, now)
    }

    #[test]
    fn are_tried_each_second_until_one_was_complete() {
        let began = Instant::now();
        let second = began + Duration::from_secs(1);
        let mut checkpoints = checkpoints(began);
        assert_eq!(checkpoints.effort(0, began), Some(Effort::Gentle));
        checkpoints.begin(began);
        checkpoints.end(began, false);
        assert_eq!(checkpoints.effort(0, began), None);
        assert_eq!(checkpoints.effort(0, second), Some(Effort::Gentle));
        checkpoints.begin(second);
        checkpoints.end(second, true);
        assert_eq!(checkpoints.effort(0, second + Duration::from_hours(1)), None);
        assert_eq!(checkpoints.until_due(0, second), None);
        assert_eq!(checkpoints.effort(1000, second + Duration::from_secs(9)), Some(Effort::Gentle));
    }
}
