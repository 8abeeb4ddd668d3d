use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use tracing::warn;

use super::{Standing, Tail};
use crate::format::Generation;
use crate::replicate::durable::is_full;

/// How many bytes may always wait for a replica, however small the database.
const BACKLOG_BYTES: u64 = 1 << 30;

/// How many bytes may wait for a replica however little is free: where nothing is free, nothing can
/// be staged either.
const FREE_MIN: u64 = 64 << 20;

/// How often to measure how much waits for the replicas.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a full disk is waited for with the log kept: nobody can empty it until then.
const FULL_MAX: Duration = Duration::from_secs(2);

impl Tail {
    /// The fewest segments that wait for any replica; `usize::MAX` if no replica takes segments.
    pub(super) fn waiting(&self) -> io::Result<usize> {
        let inside = self.slots.iter().filter(|slot| slot.standing != Standing::Outside);
        inside
            .map(|slot| slot.staging.count())
            .try_fold(usize::MAX, |least, waiting| Ok(least.min(waiting?)))
    }

    /// Measures how much waits for the replicas, and gives up on those for which it is more than a
    /// gibibyte and than twice the database: a new copy takes less; or more than is free on its
    /// disk. The more waits, the longer measuring takes.
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
        let longest = BACKLOG_BYTES.max(2 * database).min(free(self.state.path()).max(FREE_MIN));
        let most = self.drop_backlog(cursor.generation, longest)?;
        self.metrics.shadow_wal_size.set(i64::try_from(most).unwrap_or(i64::MAX));
        if self.slots.iter().all(|slot| slot.standing == Standing::Outside) {
            self.abandon("more waited for its replicas than may");
        }
        Ok(())
    }

    /// Drops what waits for replicas for which it is more than `longest` bytes. Returns how much
    /// waited for any of them.
    fn drop_backlog(&mut self, generation: Generation, longest: u64) -> io::Result<u64> {
        let mut most = 0;
        for slot in self.slots.iter_mut().filter(|slot| slot.standing != Standing::Outside) {
            let bytes = slot.staging.bytes()?;
            most = most.max(bytes);
            if bytes > longest {
                warn!(
                    db = %self.options.path.display(), name = slot.name, bytes,
                    "too much waits for this replica: dropped, it will get a snapshot instead"
                );
                slot.staging.discard(generation)?;
                slot.standing = Standing::Outside;
            }
        }
        Ok(most)
    }

    /// Lets go of the log if it cannot be captured because a disk is full, for `since`: until then
    /// nobody can empty it, and it may be what fills the disk.
    pub(super) fn yield_disk(&mut self, error: &anyhow::Error, since: Instant) {
        let is_of_disk = |cause: &io::Error| is_full(cause);
        let is_full = error.chain().any(|it| it.downcast_ref().is_some_and(is_of_disk));
        if !is_full || since.elapsed() < FULL_MAX {
            return;
        }
        if let Some(generation) = self.capture.as_ref().map(|it| it.cursor().generation) {
            // Tried again with each segment that cannot be staged.
            let _ = self.drop_backlog(generation, 0);
            self.abandon("its log cannot be captured while a disk is full");
        }
    }
}

/// How many bytes are free where a file is. Unlimited, if that cannot be told.
fn free(path: &Path) -> u64 {
    statvfs(path).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize))
}
