//! A log that grows under a policy that is asked every 10 ms.

use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_millis(10);

/// For how many ticks, how many pages are written in each of them, and whether a checkpoint would
/// be complete.
type Weather = (u32, u32, bool);

#[derive(Debug)]
struct Log {
    age: LogAge,
    /// How long a checkpoint has been due by pages or time.
    overdue: Duration,
    firm: u32,
}

impl Log {
    fn tick(
        &mut self,
        policy: CheckpointPolicy,
        written: u32,
        free: bool,
    ) -> Result<(), TestCaseError> {
        self.age.pages += u64::from(written);
        self.age.since_complete += TICK;
        self.age.since_try += TICK;
        let Some(effort) = policy.effort(self.age) else { return self.leave(policy) };
        prop_assert!(self.age.pages > 0, "there is nothing to do: {self:?}");
        if self.age.failures > 0 {
            let shortest = if effort == Effort::Firm { 1000 } else { 200 };
            prop_assert!(self.age.since_try >= Duration::from_millis(shortest), "{self:?}");
        }
        self.firm += u32::from(effort == Effort::Firm);
        (self.overdue, self.age.since_try) = (Duration::ZERO, Duration::ZERO);
        self.age.failures += 1;
        if free {
            self.age = LogAge {
                pages: 0,
                since_complete: Duration::ZERO,
                since_try: Duration::ZERO,
                failures: 0,
            };
        }
        Ok(())
    }

    /// Checks that the log is not left alone for ever.
    fn leave(&mut self, policy: CheckpointPolicy) -> Result<(), TestCaseError> {
        let old = !policy.interval.is_zero() && self.age.since_complete >= policy.interval;
        if self.age.pages > 0 && (old || self.age.pages >= u64::from(policy.pages_min)) {
            self.overdue += TICK;
        }
        let long = policy.pages_max > 0 && self.age.pages >= u64::from(policy.pages_max);
        let longest = policy.interval.clamp(Duration::from_secs(1), Duration::from_mins(1));
        let longest = if long { Duration::from_secs(1) } else { longest };
        prop_assert!(
            self.overdue < longest || self.age.failures > 0 && self.age.since_try < longest,
            "{self:?}"
        );
        prop_assert!(self.age.failures > 0 || self.overdue.is_zero(), "the first one waits");
        Ok(())
    }
}

proptest! {
    #[test]
    fn tries_again_and_again_but_not_all_the_time(
        interval in prop_oneof![Just(0_u64), 1..100_000_u64],
        pages_min in 1..2000_u32,
        pages_max in prop_oneof![Just(0_u32), 1..5000_u32],
        weather in prop::collection::vec((1..400_u32, 0..50_u32, any::<bool>()), 1..30),
    ) {
        let policy = CheckpointPolicy {
            interval: Duration::from_millis(interval),
            pages_min,
            pages_max,
        };
        let age = LogAge {
            pages: 0,
            since_complete: Duration::ZERO,
            since_try: Duration::ZERO,
            failures: 0,
        };
        let mut log = Log { age, overdue: Duration::ZERO, firm: 0 };
        let weather: Vec<Weather> = weather;
        for (ticks, written, free) in weather {
            for _ in 0..ticks {
                log.tick(policy, written, free)?;
            }
        }
        prop_assert!(pages_max > 0 || log.firm == 0);
    }
}
