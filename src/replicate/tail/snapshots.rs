use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, info, warn};

use super::checkpoints::REMAINDER;
use super::divergence::Destination;
use super::recovery::Frozen;
use super::sameness::Sameness;
use super::{Standing, Tail};
use crate::format::{Generation, LogPlace, Seal, WalPos};
use crate::replicate::capture::Capture;
use crate::replicate::checkpoint::Effort;
use crate::replicate::cursor::{Cursor, Place};
use crate::replicate::durable::Durability;
use crate::replicate::image::Image;
use crate::replicate::marks::Marks;
use crate::replicate::message::Grant;
use crate::replicate::pages::PageTable;
use crate::replicate::snapshot::Snapshot;
use crate::wal::Checksum;

/// How long the first replica that is ready for a new generation waits for the others.
const GATHER: Duration = Duration::from_secs(1);

/// How long to wait for replicas that had joined the previous generation: each has to look at what
/// it holds.
const GATHER_AGAIN: Duration = Duration::from_mins(1);

/// How long to wait for the write lock.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many tries to take a snapshot at the end of a WAL before a new generation begins instead:
/// its first snapshot can always be taken, even while another process never stops reading from the
/// log.
const TRIES: u32 = 20;

impl Tail {
    /// Whether some replica waits for a snapshot that can be taken now.
    pub(super) fn snapshot_is_due(&self, now: Instant) -> bool {
        let waiting = || self.slots.iter().filter_map(|slot| Some(slot.request?.since));
        let Some(longest) = waiting().min() else { return false };
        let gathered = self.capture.is_some()
            || waiting().count() == self.slots.len()
            || now >= self.gather_until().unwrap_or(longest + GATHER);
        !self.is_storing() && gathered && now >= self.schedule.snapshots.next
    }

    fn gather_until(&self) -> Option<Instant> {
        self.schedule.snapshots.gather_until.filter(|_| self.stopping.is_none())
    }

    /// Takes a snapshot and hands it to the replicas that wait for one.
    pub(super) fn take_snapshots(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.slots.iter().all(|slot| slot.standing == Standing::Outside) {
            // A generation that no replica has is no easier to join than a new one.
            self.abandon("no replica has it");
            if self.slots.iter().all(|slot| slot.request.is_none()) {
                return Ok(());
            }
        }
        if self.capture.is_none() && self.adopt()? {
            return Ok(());
        }
        self.choose_destinations()?;
        let snapshot = if self.capture.is_none() {
            self.begin_generation()?
        } else {
            let snapshot = self.end_index(now);
            self.recovered(snapshot)?
        };
        let Some(snapshot) = snapshot else {
            self.schedule.snapshots.failed(now);
            self.give_up_on_index(now);
            return Ok(());
        };
        // Before the snapshot is granted: a replica takes none of a generation that was not
        // published.
        self.publish();
        for slot in &mut self.slots {
            let Some(request) = slot.request.take() else { continue };
            slot.storing = true;
            if slot.standing == Standing::Outside {
                slot.standing = Standing::Joining;
            }
            let grant = match request.destination {
                Some(Destination::Fork) => Grant::Fork(Box::new(snapshot.clone())),
                _ => Grant::Snapshot { snapshot: Box::new(snapshot.clone()), tip: request.tip() },
            };
            // If this fails, the replica has ended, and so will we.
            let _ = slot.grants.send(grant);
        }
        Ok(())
    }

    /// Begins a generation with the database as it is now.
    fn begin_generation(&mut self) -> anyhow::Result<Option<Snapshot>> {
        let Some(Frozen { image, log }) = self.freeze(PATIENCE, REMAINDER)? else {
            return Ok(None);
        };
        let Some(database) = &self.database else { return Ok(None) };
        let identity = database.identity()?;
        let generation = Generation::from_bits(fastrand::u64(..));
        let (page_size, pages) = (image.page_size(), image.pages());
        let table =
            PageTable::build(&self.state.pages(), generation, page_size, pages, image.reader())?;
        let mut first = vec![0; page_size.bytes()];
        image.read_pages(1, &mut first)?;
        // Recorded as ours before any replica gets something of it.
        self.ancestry.lineage.add(generation)?;
        let cursor = Cursor {
            generation,
            pos: WalPos::default(),
            checksum: Checksum::default(),
            place: Place::Start,
            page_size,
            pages,
            digest: table.digest(),
            marks: Marks::of(&first),
            link: self.ancestry.take_parent(),
            committed: SystemTime::now(),
        };
        let log_end = log.map(|log| (log.salt, log.offset));
        let mut capture =
            Capture::begin(cursor, table, identity, log_end).until(&self.lines.cancellation);
        let seal = match log.filter(|log| log.needed) {
            None => {
                capture.save(&self.state, Durability::Process)?;
                capture.snapshot_seal()
            }
            // The first segment will be the whole log from its start, and the snapshot depends on
            // it: part of that log is in the image, and not in the database file. Until it is cut
            // there is no cursor that a later process could go on from.
            Some(log) => Seal {
                end: WalPos { offset: log.offset, ..WalPos::default() },
                salt: log.salt.0,
                log: LogPlace { offset: log.offset, checksum: log.checksum.to_bytes() },
                ..capture.snapshot_seal()
            },
        };
        if self.schedule.snapshots.unstored {
            debug!(db = %self.path().display(), %generation, "generation begins");
        } else {
            info!(db = %self.path().display(), %generation, "generation begins");
        }
        // The file has nothing that is not in the image.
        capture.note_seen_to_its_end();
        self.capture = Some(capture);
        self.ancestry.sameness = Sameness::Given;
        self.schedule.changed = true;
        self.schedule.snapshots.gather_until = None;
        self.schedule.checkpoints.fresh = log.is_some();
        Ok(Some(Snapshot { image: Arc::new(image), seal }))
    }

    /// Ends the log, so that the next index begins with the database as it is now.
    ///
    /// Returns `None` if another process is in the way.
    fn end_index(&mut self, now: Instant) -> anyhow::Result<Option<Snapshot>> {
        self.checkpoint(Effort::Firm, now)?;
        let drained = self.capture.as_ref().is_some_and(Capture::is_drained);
        if !drained || !self.truncate_log()? {
            return Ok(None);
        }
        let (Some(database), Some(capture)) = (&self.database, &mut self.capture) else {
            return Ok(None);
        };
        capture.next_index()?;
        // Durably: a process that went on from an earlier cursor, after a loss of power, would put
        // segments before the snapshot that the snapshot does not contain.
        capture.save(&self.state, Durability::Power)?;
        let image =
            Image::of_file(database.file().clone(), database.page_size(), database.pages()?)
                .until(&self.lines.cancellation)
                .under(database.lease());
        let seal = capture.snapshot_seal();
        debug!(pos = %seal.start, "snapshot taken");
        Ok(Some(Snapshot { image: Arc::new(image), seal }))
    }

    /// Gives up the generation if a replica could not join it for too long.
    fn give_up_on_index(&mut self, now: Instant) {
        let outside =
            |slot: &super::Slot| slot.standing == Standing::Outside && slot.request.is_some();
        if self.schedule.snapshots.failures < TRIES || self.capture.is_none() {
            return;
        }
        if self.slots.iter().any(outside) {
            self.abandon("another process has been reading from the log for too long");
            // All replicas at once: joining one after the other, they would end each other's
            // generations for ever.
            self.schedule.snapshots.gather_until = Some(now + GATHER_AGAIN);
        } else if self.schedule.snapshots.failures.is_multiple_of(TRIES) {
            warn!(
                db = %self.path().display(),
                "a snapshot is due, but another process has been reading from the log all the time"
            );
        }
    }
}
