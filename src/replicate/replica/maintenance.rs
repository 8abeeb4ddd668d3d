use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::company::SETTLE_MAX;
use super::{Connected, Failures, stopping};
use crate::catalog::{self, AlteredRecord, Found};
use crate::format::{Generation, History, Key, Kind, Link, ProofRecord, Seal};
use crate::replicate::message::Captured;
use crate::replicate::options::ReplicaOptions;
use crate::replicate::retention::{expired, needs_snapshot, present};
use crate::store::StoreError;
use crate::utc;

/// Farther away than anything that is waited for.
const NEVER: Duration = Duration::from_hours(876_000);

/// How long after a failure to store a snapshot another one is due.
const SNAPSHOT_PAUSE: Duration = Duration::from_mins(1);

/// When the history of a replica is to be looked after.
#[derive(Debug)]
pub(super) struct Maintenance {
    snapshot_interval: Duration,
    retention: Duration,
    check_interval: Duration,
    next_snapshot: Instant,
    next_check: Instant,
    /// The generation and link at the newest snapshot: without a segment since, another one would
    /// be the same.
    snapshot_at: Option<(Generation, Link)>,
    /// Why nothing may expire, as it was last logged.
    doubt: Option<Doubt>,
    /// The generation that is captured, and the one that a restore takes instead.
    hidden: Option<(Generation, Generation)>,
}

/// What has expired, in batches that are deleted one after another.
pub(super) type Expired = [Vec<Key>; 3];

/// Why nothing may expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Validation has found the database itself damaged, at this time.
    Damaged(SystemTime),
    /// The record of validation cannot be read any more. It may have said that the database is
    /// damaged.
    Unreadable,
    /// Validation could not restore the replica. What is older may be all that can be restored.
    Unrestorable,
}

impl Maintenance {
    pub(super) fn new(options: &ReplicaOptions) -> Self {
        let now = Instant::now();
        let or_never = |interval: Duration| if interval.is_zero() { NEVER } else { interval };
        let retention = or_never(options.retention);
        let check_interval = options.retention_check_interval.min(retention);
        let snapshot_interval = or_never(options.snapshot_interval);
        Self {
            snapshot_interval,
            retention,
            check_interval,
            next_snapshot: now + snapshot_interval,
            next_check: now + check_interval,
            snapshot_at: None,
            doubt: None,
            hidden: None,
        }
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Instant {
        self.next_snapshot.min(self.next_check)
    }

    /// Takes note of a snapshot that an earlier process has stored. `newest` is the newest object,
    /// which may be that snapshot.
    pub(super) fn snapshot_found(&mut self, newest: &Found, created: SystemTime, now: SystemTime) {
        let seal = newest.ok().flatten().filter(|seal| seal.kind() == Kind::Snapshot);
        self.snapshot_at = seal.map(|seal| (seal.generation, seal.previous));
        let age = now.duration_since(created).unwrap_or_default();
        self.next_snapshot = Instant::now() + self.snapshot_interval.saturating_sub(age);
    }

    /// Takes note that a snapshot could not be stored: another one is due soon.
    pub(super) fn snapshot_failed(&mut self) {
        let pause = SNAPSHOT_PAUSE.min(self.snapshot_interval);
        self.next_snapshot = self.next_snapshot.min(Instant::now() + pause);
    }

    pub(super) fn snapshot_stored(&mut self, seal: &Seal) {
        self.next_snapshot = Instant::now() + self.snapshot_interval;
        self.snapshot_at = Some((seal.generation, seal.previous));
    }
}

impl Connected {
    /// Asks for a snapshot, or looks after the history, whichever is due.
    pub(super) async fn maintain(&mut self, captured: Captured) -> Expired {
        let now = Instant::now();
        if self.maintenance.next_snapshot <= now {
            self.maintenance.next_snapshot = now + self.maintenance.snapshot_interval;
            self.want_snapshot();
        }
        if self.maintenance.next_check <= now {
            self.maintenance.next_check = now + self.maintenance.check_interval;
            match self.look_after_history(captured).await {
                Ok(expired) => return expired,
                Err(error) => {
                    Failures::new("looking after the history").wait(&self.replica, &error).await;
                }
            }
        }
        Expired::default()
    }

    /// Deletes what has expired.
    ///
    /// Once begun, this goes on for a little while after a stop: if a history is deleted only in
    /// part, `verify` finds objects missing from it until the next start.
    pub(super) async fn delete_expired(&self, expired: &Expired) {
        let objects: usize = expired.iter().map(Vec::len).sum();
        if objects == 0 {
            return;
        }
        let (db, name) = (self.replica.database.display(), &self.replica.options.name);
        info!(%db, name, objects, "delete expired history");
        let stopping = stopping(&self.replica);
        tokio::select! {
            () = self.delete(expired) => (),
            () = async { stopping.await; sleep(SETTLE_MAX).await } => (),
        }
    }

    /// Asks for another snapshot of a generation that the replica holds, unless it would be the
    /// same as the last one.
    fn want_snapshot(&mut self) {
        if let (Some((generation, _)), None) = (self.tip, self.asked)
            && self.tip != self.maintenance.snapshot_at
        {
            self.ask_for_another(generation);
        }
    }

    /// Finds what has expired, if everything that the replica should hold is there.
    async fn look_after_history(&mut self, captured: Captured) -> Result<Expired, StoreError> {
        let Some(generation) = captured.generation.filter(|of| self.holds(*of)) else {
            return Ok(Expired::default());
        };
        if let Err(error) = self.store.remove_left_overs().await {
            debug!(name = self.replica.options.name, "cannot remove what was left: {error}");
        }
        match self.loss(generation).await? {
            Some(reason) => {
                self.diverged(generation, reason).await;
                Ok(Expired::default())
            }
            None if self.maintenance.retention == NEVER => Ok(Expired::default()),
            None => self.find_expired(captured).await,
        }
    }

    /// Returns what is missing of what was stored, or `None` if nothing is.
    ///
    /// A person may have deleted it, or a lifecycle rule of the bucket. While nobody writes to the
    /// database, nothing else would notice.
    async fn loss(&mut self, generation: Generation) -> Result<Option<String>, StoreError> {
        self.company.look_again();
        if let Some(reason) = self.check_alone(generation).await? {
            return Ok(Some(reason));
        }
        // A listing may be stale, and then lacks what was stored just before.
        let interval = self.maintenance.check_interval;
        let is_settled = self.last_sent.is_none_or(|sent| sent.elapsed() > interval);
        if is_settled && self.ends_otherwise(generation).await? {
            return Ok(Some("it does not end with what was sent last".to_owned()));
        }
        Ok(None)
    }

    /// Finds what the retention no longer asks for, and may be deleted.
    async fn find_expired(&mut self, captured: Captured) -> Result<Expired, StoreError> {
        let histories = catalog::histories(&self.store, 1).await?;
        let (now, retention) = (present(&histories, SystemTime::now()), self.maintenance.retention);
        let mut current =
            histories.iter().filter(|history| Some(history.generation) == captured.generation);
        if current.any(|history| needs_snapshot(history, now, retention)) {
            self.want_snapshot();
        }
        self.uncover(captured, &histories);
        let batches = expired(&histories, captured.generation, now, retention);
        let count: usize = batches.iter().map(Vec::len).sum();
        if count == 0 || !self.may_delete(captured.generation).await? {
            return Ok(Expired::default());
        }
        let doubt = self.doubt().await?;
        let said = std::mem::replace(&mut self.maintenance.doubt, doubt);
        match doubt {
            None => return Ok(batches),
            Some(doubt) if said != Some(doubt) => self.say_kept(doubt, count),
            Some(_) => (),
        }
        Ok(Expired::default())
    }

    /// Asks for a snapshot if a restore takes another generation than the one that is captured:
    /// then that is the latest again by the clock of the store.
    fn uncover(&mut self, captured: Captured, histories: &[History]) {
        let Some(generation) = captured.generation else { return };
        let hidden = History::hiding(histories, generation).map(|taken| (generation, taken));
        // Once: if the times of the other one are in the future, a snapshot changes nothing.
        let before = std::mem::replace(&mut self.maintenance.hidden, hidden);
        let Some((_, taken)) = hidden.filter(|_| hidden != before) else { return };
        let (db, name) = (self.replica.database.display(), &self.replica.options.name);
        warn!(
            %db, name, %generation, %taken,
            "a restore would take an earlier generation, which is the latest by the clock of the \
             store: was that set back, or the replica copied? A snapshot of the database follows"
        );
        if self.asked.is_none() {
            self.ask_for_another(generation);
        }
    }

    /// Whether the replica is still ours.
    ///
    /// What is deleted is gone, and a daemon that has nothing to send does not look for others: all
    /// of the replica may belong to another daemon since, which keeps history for longer.
    async fn may_delete(&mut self, generation: Option<Generation>) -> Result<bool, StoreError> {
        let Some(generation) = generation.filter(|of| self.holds(*of)) else { return Ok(false) };
        self.company.look_again();
        let Some(reason) = self.check_alone(generation).await? else { return Ok(true) };
        self.diverged(generation, reason).await;
        Ok(false)
    }

    fn say_kept(&self, doubt: Doubt, objects: usize) {
        let (db, name) = (self.replica.database.display(), &self.replica.options.name);
        match doubt {
            Doubt::Unrestorable => warn!(
                %db, name, objects,
                "expired history is kept until validation can restore the replica again"
            ),
            Doubt::Damaged(since) => {
                let since = utc::seconds(since);
                error!(
                    %db, name, objects, %since,
                    "expired history is kept: validation found the database damaged. Restore \
                     it with -last-verified, or from another backup, or mend it: the next \
                     validation takes note of that (validation-interval)"
                );
            }
            Doubt::Unreadable => error!(
                %db, name, objects, object = ProofRecord::KEY,
                "expired history is kept: the record of what was proven is altered, and may have \
                 said that the database is damaged. The next validation of all that is there \
                 writes it anew (validation-interval); without that, delete the object"
            ),
        }
    }

    /// Why nothing may expire, if there is a reason.
    async fn doubt(&self) -> Result<Option<Doubt>, StoreError> {
        if self.replica.staging.defect().is_some() {
            return Ok(Some(Doubt::Unrestorable));
        }
        // Whichever replica has shown that the database is damaged, all of them have been since.
        for staging in &*self.replica.all_staging {
            let record = staging.record().map_err(|error| StoreError::Unavailable(error.into()))?;
            if let Some(since) = record.and_then(|record| record.damaged) {
                return Ok(Some(Doubt::Damaged(since)));
            }
        }
        Ok(match catalog::proof_record(&self.store).await? {
            None => None,
            Some(Ok(record)) => record.damaged.map(Doubt::Damaged),
            Some(Err(AlteredRecord)) => Some(Doubt::Unreadable),
        })
    }
}
