use std::io;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Standing, Tail};

/// How many bytes may always wait for a replica, however small the database.
const BACKLOG_BYTES: u64 = 1 << 30;

/// How often to measure how much waits for the replicas.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

impl Tail {
    /// The fewest segments that wait for any replica; `usize::MAX` if no replica takes segments.
    pub(super) fn waiting(&self) -> io::Result<usize> {
        let inside = self.slots.iter().filter(|slot| slot.standing != Standing::Outside);
        inside
            .map(|slot| slot.staging.count())
            .try_fold(usize::MAX, |least, waiting| Ok(least.min(waiting?)))
    }

    /// Measures how much waits for the replicas, and gives up on those for which it is more than a
    /// gibibyte and than twice the database: a new copy takes less. The more waits, the longer
    /// measuring takes.
    ///
    /// The disk belongs to the application. Once such a replica can be reached again it asks for a
    /// snapshot; what it lacks until then can only be restored from another replica.
    pub(super) fn bound_backlog(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.schedule.last_measured.is_some_and(|last| now - last < MEASURE_INTERVAL) {
            return Ok(());
        }
        self.schedule.last_measured = Some(now);
        let Some(capture) = &self.capture else { return Ok(()) };
        let cursor = capture.cursor();
        let database = u64::from(cursor.pages) * u64::from(cursor.page_size.get());
        let longest = BACKLOG_BYTES.max(2 * database);
        let (mut left, mut most) = (false, 0);
        for slot in self.slots.iter_mut().filter(|slot| slot.standing != Standing::Outside) {
            let bytes = slot.staging.bytes()?;
            most = most.max(bytes);
            if bytes <= longest {
                left = true;
                continue;
            }
            warn!(
                db = %self.options.path.display(), name = slot.name, bytes,
                "too much waits for this replica: dropped, it will get a snapshot instead"
            );
            slot.staging.discard(cursor.generation)?;
            slot.standing = Standing::Outside;
        }
        self.metrics.shadow_wal_size.set(i64::try_from(most).unwrap_or(i64::MAX));
        if !left {
            self.abandon("more waited for its replicas than a snapshot takes");
        }
        Ok(())
    }
}
