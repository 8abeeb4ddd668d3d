use std::time::Duration;

use tracing::info;

/// How far a restore got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of objects read.
    pub bytes: u64,
    /// Bytes of all objects of the plan.
    pub total: u64,
    pub elapsed: Duration,
}

impl Progress {
    /// The share that was read, from 0 to 100.
    pub fn percent(&self) -> u64 {
        100 * self.bytes / self.total.max(1)
    }

    /// Millions of bytes a second.
    #[expect(clippy::cast_precision_loss, reason = "it is only looked at")]
    pub fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64().max(1e-3)
    }

    /// The time left at the rate so far. `None` if it cannot be estimated.
    pub fn remaining(&self) -> Option<Duration> {
        let rest = u128::from(self.total.saturating_sub(self.bytes));
        let millis = self.elapsed.as_millis().checked_mul(rest)?.checked_div(self.bytes.into())?;
        u64::try_from(millis).ok().map(Duration::from_millis)
    }
}

/// How and how often the progress of a restore is reported.
#[derive(Clone, Copy, Debug)]
pub struct Reporting {
    pub interval: Duration,
    pub report: fn(Progress),
    /// Whether the plan and the result are logged.
    pub announced: bool,
}

impl Reporting {
    /// Reports progress in the log.
    pub const LOG: Self = Self { interval: Duration::from_secs(2), report: log, announced: true };

    /// Reports nothing, for a restore whose result is only examined.
    pub const NONE: Self = Self { interval: Duration::MAX, report: |_| (), announced: false };
}

fn log(progress: Progress) {
    let Progress { bytes, total, .. } = progress;
    let (percent, rate) = (progress.percent(), progress.rate());
    info!(bytes, total, percent, rate = format!("{rate:.1} MB/s"), "restoring");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long_it_takes_yet() {
        let at = |bytes, seconds| {
            let elapsed = Duration::from_secs(seconds);
            Progress { bytes, total: 1000, elapsed }
        };
        assert_eq!(at(250, 2).remaining(), Some(Duration::from_secs(6)));
        assert_eq!(at(250, 2).percent(), 25);
        assert_eq!(at(1000, 2).remaining(), Some(Duration::ZERO));
        assert_eq!(at(0, 2).remaining(), None);
        let nothing = Progress { bytes: 0, total: 0, elapsed: Duration::ZERO };
        assert_eq!((nothing.percent(), nothing.rate()), (0, 0.0));
        let large = Progress { bytes: 1, total: u64::MAX, elapsed: Duration::MAX };
        assert_eq!(large.remaining(), None);
    }
}
