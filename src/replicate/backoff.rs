use std::time::Duration;

/// Pauses between attempts that double from one to the next, with jitter, so that many who failed
/// together do not come back together.
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

    #[test]
    fn doubles_up_to_the_longest_pause() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let pauses: Vec<u128> = (0..5).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1000, 1000]);
        assert_eq!(Backoff::new(Duration::from_secs(1)).pause(0.0).as_millis(), 100);
    }
}
