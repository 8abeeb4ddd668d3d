use std::time::{Duration, Instant};

use crate::replicate::checkpoint::CheckpointPolicy;
use crate::replicate::options::DatabaseOptions;

/// How often the log is cut while no replica could take a segment: fewer and longer ones do as
/// well.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(10);

/// How many segments may be cut in the time of one, for those who wait for that.
const HURRIES: u32 = 5;

/// What counts as the time of one, for those who wait, where segments are far between.
const HURRY_MAX: Duration = Duration::from_secs(1);

/// How soon, and how often at least, it is looked whether a log was copied.
const COPY_LOOK_MIN: Duration = Duration::from_millis(4);
const COPY_LOOK_MAX: Duration = Duration::from_millis(500);

/// When what was done last, and when it may be done next.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) policy: CheckpointPolicy,
    /// The shortest interval of the replicas.
    cut_interval: Duration,
    /// At most one segment in this time.
    pace: Duration,
    /// So many segments wait for the replica for which the fewest do.
    waiting: usize,
    pub(super) last_cut: Option<Instant>,
    /// When it was looked how much waits for the replicas.
    pub(super) last_measured: Option<Instant>,
    /// There was nothing new in the log when it was last looked at.
    pub(super) last_look_was_idle: bool,
    /// The log may have grown since it was last looked at.
    pub(super) changed: bool,
    /// How long to leave frames alone of which it is not known whether they are committed.
    pub(super) until_settled: Option<Duration>,
    /// Bytes of the log that were committed when it was looked who checkpoints.
    pub(super) committed: Option<u64>,
    /// Since when somebody may be copying the log.
    pub(super) copying_since: Option<Instant>,
    pub(super) last_checkpoint: Instant,
    pub(super) last_complete_checkpoint: Instant,
    /// Checkpoints since the last complete one.
    pub(super) checkpoint_failures: u32,
    /// When it was said who keeps the log from being emptied.
    pub(super) named_readers: Option<Instant>,
    /// Snapshots that could not be taken since the last one that was.
    pub(super) snapshot_failures: u32,
    pub(super) next_snapshot: Instant,
    /// Until when the replicas are waited for that had joined the generation before.
    pub(super) gather_until: Option<Instant>,
    /// There was no complete checkpoint since the database was opened.
    pub(super) fresh: bool,
    pub(super) locked_since: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(options: &DatabaseOptions, now: Instant) -> Self {
        let intervals = options.replicas.iter().map(|replica| replica.sync_interval);
        let cut_interval = intervals.min().unwrap_or(Duration::from_secs(1));
        Self {
            policy: CheckpointPolicy {
                interval: options.checkpoint_interval,
                pages_min: options.min_checkpoint_pages,
                pages_max: options.max_checkpoint_pages,
            },
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
            last_checkpoint: now,
            last_complete_checkpoint: now,
            checkpoint_failures: 0,
            named_readers: None,
            snapshot_failures: 0,
            next_snapshot: now,
            gather_until: None,
            fresh: true,
            locked_since: None,
        }
    }

    /// How long until the log may be cut again.
    pub(super) fn until_cut(&self, now: Instant) -> Duration {
        self.last_cut.map_or(Duration::ZERO, |last| self.pace.saturating_sub(now - last))
    }

    /// How long until it is looked whether somebody has copied the log, or waits for us. The longer
    /// he takes, the longer he may be waited for.
    pub(super) fn until_copied(&self, now: Instant) -> Option<Duration> {
        let until = (now - self.copying_since?).clamp(COPY_LOOK_MIN, COPY_LOOK_MAX);
        let hurry = self.until_hurry(now);
        Some(if hurry.is_zero() { until } else { until.min(hurry) })
    }

    /// Takes note that the log was looked at, and whether more may be committed there soon. A
    /// commit waits for the disk; frames that never are committed may stay for ever.
    pub(super) fn looked(&mut self, unsettled: bool) {
        self.changed = false;
        let longer = |pause: Duration| (2 * pause).min(Duration::from_mins(1));
        self.until_settled =
            unsettled.then(|| self.until_settled.map_or(Duration::from_millis(4), longer));
    }

    /// Sets the pace, by how many segments wait for the replica for which the fewest do.
    pub(super) fn set_pace(&mut self, waiting: usize) {
        let longest = BACKLOG_INTERVAL.max(self.cut_interval);
        self.pace = if waiting > 0 { longest } else { self.cut_interval };
        self.waiting = waiting;
    }

    /// How long until the log may be cut early, for somebody who waits for that: a few times as
    /// often as the replicas want it, or as often as they do where none takes a segment. Those few
    /// wait for the interval to end, and are sent together then. However long it is, nobody is kept
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
