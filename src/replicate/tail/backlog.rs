use std::io;

use tracing::warn;

use super::{Standing, Tail};

/// What may wait for a replica in any case, however small the database.
const BACKLOG_BYTES: u64 = 1 << 30;

impl Tail {
    /// Whether every replica still has to take earlier segments.
    pub(super) fn is_backlogged(&self) -> io::Result<bool> {
        for slot in self.slots.iter().filter(|slot| slot.standing != Standing::Outside) {
            if slot.staging.is_empty()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives up on replicas for which more waits than a new copy of the database would take.
    ///
    /// The disk belongs to the application. Once such a replica can be reached again it asks for a
    /// snapshot; what it lacks until then can only be restored from another one.
    pub(super) fn bound_backlog(&mut self) -> anyhow::Result<()> {
        let Some(capture) = &self.capture else { return Ok(()) };
        let cursor = capture.cursor();
        let database = u64::from(cursor.pages) * u64::from(cursor.page_size.get());
        let longest = BACKLOG_BYTES.max(2 * database);
        let mut left = false;
        for slot in self.slots.iter_mut().filter(|slot| slot.standing != Standing::Outside) {
            let bytes = slot.staging.bytes()?;
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
        if !left {
            self.abandon("more waited for its replicas than a snapshot takes");
        }
        Ok(())
    }
}
