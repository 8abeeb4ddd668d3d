use std::time::Duration;

/// Pauses between attempts that double from one to the next, with jitter, so that many tasks that
/// failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(longest: Duration) -> Self {
        Self { next: Duration::from_millis(200), longest }
    }

    /// The next pause. `random` is in `0.0..1.0`.
    pub(super) fn pause(&mut self, random: f64) -> Duration {
        let pause = self.next.mul_f64(0.5 + random / 2.0);
        self.next = (2 * self.next).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_pauses_too_long_nor_hardly_at_all(
            longest in 200..60_000_u64,
            jitter in prop::collection::vec(0.0..1.0, 1..40),
        ) {
            let longest = Duration::from_millis(longest);
            let mut backoff = Backoff::new(longest);
            let mut least = Duration::from_millis(100);
            for random in jitter {
                let pause = backoff.pause(random);
                prop_assert!(least <= pause && pause <= longest.min(2 * least), "{pause:?}");
                least = (2 * least).min(longest / 2);
            }
        }
    }

    #[test]
    fn doubles_up_to_the_longest_pause() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let pauses: Vec<u128> = (0..5).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1000, 1000]);
        assert_eq!(Backoff::new(Duration::from_secs(1)).pause(0.0).as_millis(), 100);
    }
}
