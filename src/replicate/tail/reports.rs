use std::time::{Duration, Instant};

use anyhow::bail;
use tracing::{debug, info};

use super::slot::Purpose;
use super::{Slot, Standing, Tail};
use crate::replicate::capture::Cut;
use crate::replicate::message::{Message, Report, SnapshotFailure};
use crate::replicate::refusals::Reception;

/// How often another snapshot is stored for a replica that cannot be restored, at most. It may be
/// something that a snapshot does not mend.
const MEND_INTERVAL: Duration = Duration::from_hours(1);

impl Tail {
    /// Handles the messages that have come from the replicas and others.
    pub(super) fn receive(&mut self) -> anyhow::Result<()> {
        while let Ok(message) = self.lines.inbox.try_recv() {
            match message {
                Message::Report { replica, report } => self.hear(replica, report)?,
                Message::Mend { replica, anew } => {
                    let slot = &mut self.slots[replica];
                    let is_due = |mended: Instant| mended.elapsed() >= MEND_INTERVAL;
                    let is_due = anew || slot.mended.is_none_or(is_due);
                    if slot.standing == Standing::Inside && !slot.storing && is_due {
                        info!(
                            db = %self.options.path.display(), name = slot.name,
                            "the replica gets another snapshot, to be restored from that"
                        );
                        slot.mending = true;
                        slot.ask(Purpose::Renewal);
                    }
                }
                Message::Stop => {
                    self.stopping.get_or_insert_with(Instant::now);
                    // Whatever the last look found: what was committed since then counts as well.
                    self.schedule.last_look_was_idle = false;
                    self.schedule.changed = true;
                    self.publish();
                }
                // Whoever sends this sets the cancellation as well.
                Message::Abort => (),
            }
        }
        Ok(())
    }

    fn hear(&mut self, replica: usize, report: Report) -> anyhow::Result<()> {
        let current = self.capture.as_ref().map(|capture| capture.cursor().generation);
        let slot = &mut self.slots[replica];
        slot.reached |= report.shows_use();
        match report {
            Report::WantsSnapshot(tip) => {
                slot.ask(Purpose::Beginning(tip.map(|tip| *tip)));
                if slot.standing == Standing::Unknown {
                    slot.standing = Standing::Outside;
                    if let Some(generation) = current {
                        slot.discard(generation);
                    }
                }
            }
            Report::WantsAnother(generation) if current == Some(generation) => {
                slot.ask(Purpose::Renewal);
            }
            Report::Holds(generation)
                if current == Some(generation) && slot.standing != Standing::Outside =>
            {
                slot.standing = Standing::Inside;
            }
            Report::SnapshotStored(generation) if current == Some(generation) => {
                slot.storing = false;
                if std::mem::take(&mut slot.mending) {
                    slot.mended = Some(Instant::now());
                }
                // Until now, our read transaction had to stay as it was.
                self.schedule.copying_since = Some(Instant::now());
                slot.standing = Standing::Inside;
                // The replica cannot have asked for another one yet.
                slot.request = None;
                if self.schedule.snapshots.stored() {
                    info!(db = %self.options.path.display(), %generation, "generation begins");
                }
                if self.slots.iter().all(|slot| slot.standing == Standing::Inside) {
                    // Until then, Litestream's state tells what the other replicas have.
                    self.state.retire_litestream();
                }
            }
            Report::SnapshotFailed(generation, cause) if current == Some(generation) => {
                slot.storing = false;
                self.schedule.copying_since = Some(Instant::now());
                if slot.standing == Standing::Joining {
                    slot.standing = Standing::Outside;
                    slot.discard(generation);
                }
                if cause == SnapshotFailure::Mismatch {
                    self.estrange();
                    self.abandon("the database file is not what was captured from its log");
                } else if self.slots.iter().all(|slot| slot.standing == Standing::Outside) {
                    // No replica has anything of the generation.
                    self.end_unstored();
                }
            }
            Report::Diverged(generation, reason) => {
                // A snapshot that was asked for before must not take the place of what the replica
                // was found to hold. The replica asks again, and says what that is.
                slot.request = None;
                if current == Some(generation) {
                    self.abandon(&format!("replica {}: {reason}", self.slots[replica].name));
                }
            }
            Report::Settled(link) => slot.settled = Some(link),
            Report::Rejected(reason) => slot.rejected = Some(reason),
            _ => (),
        }
        self.refuse_if_nobody_takes_us()
    }

    /// Ends a generation whose first snapshot could not be stored. Others follow until one can be:
    /// only the first is logged here, and the replica logs why it failed.
    fn end_unstored(&mut self) {
        let reason = "its first snapshot could not be stored";
        if std::mem::replace(&mut self.schedule.snapshots.unstored, true) {
            let generation = self.end_generation();
            debug!(db = %self.path().display(), ?generation, reason, "generation ended");
        } else {
            self.abandon(reason);
        }
    }

    /// Fails if, right at the start, every store refuses us, for every database: a mistake in the
    /// configuration, which nobody would notice while we go on trying. Later on a refusal is an
    /// outage. While other databases are accepted, they must not suffer from it.
    fn refuse_if_nobody_takes_us(&self) -> anyhow::Result<()> {
        let reception = if self.slots.iter().any(|slot| slot.reached) {
            Reception::Taken
        } else if self.slots.iter().all(|slot| slot.rejected.is_some()) {
            Reception::Refused
        } else {
            Reception::Unknown
        };
        if !self.lines.refusals.note(self.path(), reception) {
            return Ok(());
        }
        match self.slots.first() {
            Some(Slot { name, rejected: Some(reason), .. }) => {
                bail!("replica {name} of {}: {reason}", self.path().display())
            }
            _ => Ok(()),
        }
    }

    /// Updates the metrics for a segment that was cut.
    pub(super) fn measure(&self, cut: Cut, began: Instant) -> anyhow::Result<()> {
        let (Some(database), Some(capture)) = (&self.database, &self.capture) else {
            return Ok(());
        };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.db_size.set(signed(database.file().metadata()?.len()));
        self.metrics.wal_size.set(signed(database.log_bytes()?));
        self.metrics.shadow_wal_index.set(capture.cursor().pos.index.get().into());
        self.metrics.total_wal_bytes.inc_by(cut.bytes);
        self.metrics.sync_count.inc();
        self.metrics.sync_seconds.inc_by(began.elapsed().as_secs_f64());
        Ok(())
    }
}
