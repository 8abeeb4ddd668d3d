mod checkpoints;
mod snapshots;

use std::time::{Duration, Instant};

use crate::replicate::checkpoint::CheckpointPolicy;
use crate::replicate::options::DatabaseOptions;
use checkpoints::Checkpoints;
use snapshots::Snapshots;

/// How often the log is cut while segments wait for every replica: fewer and longer ones do as
/// well.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(10);

/// How many segments may be cut in an interval meant for one, if a process waits for that.
const HURRIES: u32 = 5;

/// The longest interval that [`HURRIES`] applies to: a longer one counts as this.
const HURRY_MAX: Duration = Duration::from_secs(1);

/// The shortest and the longest time until we check again whether a log was copied.
const COPY_LOOK_MIN: Duration = Duration::from_millis(4);
const COPY_LOOK_MAX: Duration = Duration::from_millis(500);

/// The longest such interval where segments are far between: it is looked for as long as that.
const COPY_LOOK_MAX_SELDOM: Duration = Duration::from_secs(2);

/// When each thing was done last, and when it may be done next.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) checkpoints: Checkpoints,
    pub(super) snapshots: Snapshots,
    /// The shortest sync interval of the replicas.
    cut_interval: Duration,
    /// At most one segment is cut in this time.
    pace: Duration,
    /// The fewest segments that wait for any replica.
    waiting: usize,
    pub(super) last_cut: Option<Instant>,
    /// When it was last measured how much waits for the replicas.
    pub(super) last_measured: Option<Instant>,
    /// The last look at the log found nothing new.
    pub(super) last_look_was_idle: bool,
    /// The log may have grown since it was last looked at.
    pub(super) changed: bool,
    /// How long to leave frames alone that may not be committed.
    pub(super) until_settled: Option<Duration>,
    /// Bytes of the log that were committed when we last looked for a checkpointer.
    pub(super) committed: Option<u64>,
    /// Since when another process may be copying the log.
    pub(super) copying_since: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(options: &DatabaseOptions, now: Instant) -> Self {
        let intervals = options.replicas.iter().map(|replica| replica.sync_interval);
        let cut_interval = intervals.min().unwrap_or(Duration::from_secs(1));
        let policy = CheckpointPolicy {
            interval: options.checkpoint_interval,
            pages_min: options.min_checkpoint_pages,
            pages_max: options.max_checkpoint_pages,
        };
        Self {
            checkpoints: Checkpoints::new(policy, now),
            snapshots: Snapshots::new(now),
            cut_interval,
            pace: cut_interval,
            waiting: 0,
            last_cut: None,
            last_measured: None,
            last_look_was_idle: false,
            changed: true,
            until_settled: None,
            committed: None,
            copying_since: None,
        }
    }

    /// How long until the log may be cut again.
    pub(super) fn until_cut(&self, now: Instant) -> Duration {
        self.last_cut.map_or(Duration::ZERO, |last| self.pace.saturating_sub(now - last))
    }

    /// How long until we check again whether another process has copied the log, or waits for us.
    /// The longer it takes, the longer we wait.
    pub(super) fn until_copied(&self, now: Instant) -> Option<Duration> {
        let longest = (self.cut_interval / 4).clamp(COPY_LOOK_MAX, COPY_LOOK_MAX_SELDOM);
        let until = (now - self.copying_since?).clamp(COPY_LOOK_MIN, longest);
        let hurry = self.until_hurry(now);
        Some(if hurry.is_zero() { until } else { until.min(hurry) })
    }

    /// Notes that the log was looked at, and whether more may be committed there soon. The pause
    /// doubles each time: a commit only waits for the disk, but frames that are never committed may
    /// stay for ever.
    pub(super) fn looked(&mut self, unsettled: bool) {
        self.changed = false;
        let longer = |pause: Duration| (2 * pause).min(Duration::from_mins(1));
        self.until_settled =
            unsettled.then(|| self.until_settled.map_or(Duration::from_millis(4), longer));
    }

    /// Sets the pace by `waiting`, the fewest segments that wait for any replica.
    pub(super) fn set_pace(&mut self, waiting: usize) {
        let longest = BACKLOG_INTERVAL.max(self.cut_interval);
        self.pace = if waiting > 0 { longest } else { self.cut_interval };
        self.waiting = waiting;
    }

    /// Whether the log is cut less often than the replicas ask for, and may be cut now if it grows
    /// too long.
    pub(super) fn may_cut_long_log(&self, now: Instant) -> bool {
        let is_slow = self.changed && self.pace > self.cut_interval;
        is_slow && self.last_cut.is_none_or(|last| now - last >= self.cut_interval)
    }

    /// How long until the log may be cut early, for a process that waits for that: a few times in
    /// each interval of the replicas, or once while no replica takes segments. Those few segments
    /// wait for the interval to end, and are then sent together. However long it is, nobody is kept
    /// waiting for longer than [`HURRY_MAX`].
    pub(super) fn until_hurry(&self, now: Instant) -> Duration {
        let interval = self.cut_interval.min(HURRY_MAX);
        let is_taken = self.waiting <= HURRIES as usize;
        let least = if is_taken { interval / HURRIES } else { interval };
        self.last_cut.map_or(Duration::ZERO, |last| least.saturating_sub(now - last))
    }

    pub(super) fn cut_is_due(&self, now: Instant) -> bool {
        self.changed && self.until_cut(now).is_zero()
    }
}
