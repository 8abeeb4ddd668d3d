//! When a replica is validated, and how. Decided by pure functions.

use std::time::Duration;

/// The longest time for which a proof is trusted.
const RESTORE_INTERVAL_MAX: Duration = Duration::from_hours(24);

/// How long to wait after the first failure.
const PAUSE_MIN: Duration = Duration::from_secs(10);

/// How long to wait for the next validation, after `failures` failures in a row.
///
/// An outage of minutes must not leave the replica marked as failing for a day. But a lasting
/// fault must not cause constant reading, so each pause is twice the one before.
pub(super) fn pause(interval: Duration, failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => interval,
        Some(before) => interval.min(PAUSE_MIN.saturating_mul(2_u32.saturating_pow(before))),
    }
}

/// The longest time between full restores of a replica. It is a part of the retention: when the
/// database turns out to be damaged, the last well-formed state must still be there.
pub(super) fn restore_interval(retention: Duration) -> Duration {
    if retention.is_zero() { RESTORE_INTERVAL_MAX } else { RESTORE_INTERVAL_MAX.min(retention / 3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failure must not stay until the next interval, long after the store is back.
    #[test]
    fn looks_again_soon_after_a_failure() {
        let seconds = Duration::from_secs;
        let hour = seconds(3600);
        let pauses: Vec<Duration> = (0..5).map(|failures| pause(hour, failures)).collect();
        assert_eq!(pauses, [3600, 10, 20, 40, 80].map(seconds));
        assert_eq!(pause(hour, 9), seconds(2560));
        assert_eq!(pause(hour, 10), hour);
        assert_eq!(pause(hour, u32::MAX), hour);
        assert_eq!(pause(seconds(1), 1), seconds(1));
    }

    #[test]
    fn a_damage_is_found_before_what_was_good_expires() {
        let hours = Duration::from_hours;
        assert_eq!(restore_interval(hours(24)), hours(8));
        assert_eq!(restore_interval(hours(24 * 7)), hours(24));
        assert_eq!(restore_interval(Duration::ZERO), hours(24), "kept for ever");
    }
}
