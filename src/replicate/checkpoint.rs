//! When to checkpoint: a policy is a value that answers one question.

#[cfg(test)]
mod simulation;

use std::time::Duration;

/// How a checkpoint is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Not worth a wait: a busy writer goes first, and we come back later.
    Gentle,
    /// The log is getting long: wait for the writer, and come back at once.
    Firm,
}

/// When a log is checkpointed. Counts are in pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckpointPolicy {
    /// 0: only the number of pages counts.
    pub(super) interval: Duration,
    pub(super) pages_min: u32,
    /// 0: never with firm effort.
    pub(super) pages_max: u32,
}

/// What the policy looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogAge {
    /// Pages in the log that are not known to be in the database file.
    pub(super) pages: u64,
    /// The time since the last complete checkpoint.
    pub(super) since_complete: Duration,
    /// The time since the last checkpoint that was tried.
    pub(super) since_try: Duration,
    /// How many checkpoints were tried since the last complete one.
    pub(super) failures: u32,
}

impl CheckpointPolicy {
    /// Whether to checkpoint now, and how.
    pub(super) fn effort(&self, log: LogAge) -> Option<Effort> {
        let due = self.until_due(log)?.is_zero();
        due.then_some(if self.is_long(log) { Effort::Firm } else { Effort::Gentle })
    }

    /// How long until a checkpoint is due, unless the log changes. `None`: there is nothing to do.
    pub(super) fn until_due(&self, log: LogAge) -> Option<Duration> {
        if log.pages == 0 {
            return None;
        }
        if self.is_long(log) {
            // After a failure, once a second is enough: another process reads from the log.
            let pause = if log.failures == 0 { Duration::ZERO } else { Duration::from_secs(1) };
            return Some(pause.saturating_sub(log.since_try));
        }
        let wanted = if log.pages >= u64::from(self.pages_min) {
            Duration::ZERO
        } else if self.interval.is_zero() {
            return None;
        } else {
            self.interval.saturating_sub(log.since_complete)
        };
        Some(wanted.max(self.pause(log.failures).saturating_sub(log.since_try)))
    }

    fn is_long(&self, log: LogAge) -> bool {
        self.pages_max > 0 && log.pages >= u64::from(self.pages_max)
    }

    /// How long to leave a log alone after an incomplete checkpoint.
    fn pause(&self, failures: u32) -> Duration {
        let longest = self.interval.clamp(Duration::from_secs(1), Duration::from_mins(1));
        match failures {
            0 => Duration::ZERO,
            failures => (Duration::from_millis(100) * (1 << failures.min(10))).min(longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pages: u64, complete: u64, tried_ms: u64, failures: u32, expected: Option<Effort>) {
        let policy = CheckpointPolicy {
            interval: Duration::from_mins(1),
            pages_min: 1000,
            pages_max: 10000,
        };
        let log = LogAge {
            pages,
            since_complete: Duration::from_secs(complete),
            since_try: Duration::from_millis(tried_ms),
            failures,
        };
        assert_eq!(policy.effort(log), expected, "{log:?}");
        let Some(until) = policy.until_due(log) else { return assert_eq!(expected, None) };
        let later = LogAge {
            since_complete: log.since_complete + until,
            since_try: log.since_try + until,
            ..log
        };
        assert!(policy.effort(later).is_some(), "{later:?}");
    }

    #[test]
    fn waits_for_pages_or_for_time_and_backs_off() {
        check(0, 3600, 3_600_000, 0, None);
        check(999, 59, 59_000, 0, None);
        check(1, 60, 60_000, 0, Some(Effort::Gentle));
        check(1000, 0, 0, 0, Some(Effort::Gentle));
        check(1000, 1, 199, 1, None);
        check(1000, 1, 200, 1, Some(Effort::Gentle));
        check(1000, 1, 59_999, 30, None);
        check(1000, 1, 60_000, 30, Some(Effort::Gentle));
        check(10_000, 0, 0, 0, Some(Effort::Firm));
        check(10_000, 0, 999, 9, None);
        check(10_000, 0, 1000, 9, Some(Effort::Firm));
    }
}
