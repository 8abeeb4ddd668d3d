use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{error, info};

use super::reconcile::{Found, history};
use super::{Connected, Failures};
use crate::format::{Content, Generation, History, Key, Link, Proof, Seal};
use crate::replicate::message::Captured;
use crate::replicate::options::ReplicaOptions;
use crate::replicate::retention::{expired, needs_snapshot, present};
use crate::store::{ObjectStore, StoreError};

/// Farther away than anything that is waited for.
const NEVER: Duration = Duration::from_hours(876_000);

/// How long after a snapshot that could not be stored another one is due.
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
    /// Since when the database is known to be damaged, as it was said last.
    damaged: Option<SystemTime>,
}

impl Maintenance {
    pub(super) fn new(options: &ReplicaOptions) -> Self {
        let now = Instant::now();
        let or_never = |interval: Duration| if interval.is_zero() { NEVER } else { interval };
        let retention = or_never(options.retention);
        let check_interval = match retention {
            NEVER => NEVER,
            retention => options.retention_check_interval.min(retention),
        };
        let snapshot_interval = or_never(options.snapshot_interval);
        Self {
            snapshot_interval,
            retention,
            check_interval,
            next_snapshot: now + snapshot_interval,
            next_check: now + check_interval,
            snapshot_at: None,
            damaged: None,
        }
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Instant {
        self.next_snapshot.min(self.next_check)
    }

    /// Takes note of a snapshot that an earlier process has stored. It may be the newest object.
    pub(super) fn snapshot_found(&mut self, newest: &Found, created: SystemTime, now: SystemTime) {
        let seal = newest.ok().flatten().filter(|seal| seal.content == Content::Snapshot);
        self.snapshot_at = seal.map(|seal| (seal.generation, seal.previous));
        let age = now.duration_since(created).unwrap_or_default();
        self.next_snapshot = Instant::now() + self.snapshot_interval.saturating_sub(age);
    }

    /// Takes note that one could not be stored, though it was due.
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
    /// Takes a snapshot, or deletes what has expired, whichever is due.
    pub(super) async fn maintain(&mut self, captured: Captured) {
        let now = Instant::now();
        if self.maintenance.next_snapshot <= now {
            self.maintenance.next_snapshot = now + self.maintenance.snapshot_interval;
            self.want_snapshot();
        }
        if self.maintenance.next_check <= now {
            self.maintenance.next_check = now + self.maintenance.check_interval;
            if let Err(error) = self.expire(captured).await {
                Failures::new("looking for expired history").wait(&self.replica, &error).await;
            }
        }
    }

    /// Asks for another snapshot of a generation that the replica holds, unless it would be the
    /// same as the one before.
    fn want_snapshot(&mut self) {
        if let (Some((generation, _)), None) = (self.tip, self.asked)
            && self.tip != self.maintenance.snapshot_at
        {
            self.ask_for_another(generation);
        }
    }

    /// Deletes what the retention does not ask for any more.
    async fn expire(&mut self, captured: Captured) -> Result<(), StoreError> {
        if !captured.known {
            return Ok(());
        }
        let histories = self.histories().await?;
        let (now, retention) = (present(&histories, SystemTime::now()), self.maintenance.retention);
        let mut current =
            histories.iter().filter(|history| Some(history.generation) == captured.generation);
        if current.any(|history| needs_snapshot(history, now, retention)) {
            self.want_snapshot();
        }
        let batches = expired(&histories, captured.generation, now, retention);
        let count: usize = batches.iter().map(Vec::len).sum();
        if count > 0 && self.may_delete(captured.generation).await? {
            let (db, name) = (self.replica.database.display(), &self.replica.options.name);
            let damaged = self.damaged_since().await?;
            let said = std::mem::replace(&mut self.maintenance.damaged, damaged);
            if let Some(since) = damaged {
                if said != damaged {
                    let since = humantime::format_rfc3339_seconds(since);
                    error!(
                        %db, name, objects = count, %since,
                        "expired history is kept: validation found the database damaged. Restore \
                         it with -last-verified, or mend it"
                    );
                }
                return Ok(());
            }
            info!(%db, name, objects = count, "delete expired history");
            self.delete(&batches).await;
        }
        Ok(())
    }

    /// Whether it is still us who write there. What is deleted is gone, and who has nothing to send
    /// looks for nobody: by now all of it may be another daemon's, who keeps it for longer.
    async fn may_delete(&mut self, generation: Option<Generation>) -> Result<bool, StoreError> {
        let Some(generation) = generation.filter(|of| self.holds(*of)) else { return Ok(false) };
        self.company.look_again();
        let Some(reason) = self.check_alone(generation).await? else { return Ok(true) };
        self.diverged(generation, reason).await;
        Ok(false)
    }

    /// Since when validation knows that the database itself is damaged.
    async fn damaged_since(&self) -> Result<Option<SystemTime>, StoreError> {
        let objects = self.store.list(Proof::KEY).await?;
        let Some(object) = objects.iter().find(|object| object.key == Proof::KEY) else {
            return Ok(None);
        };
        let bytes = self.store.get(Proof::KEY, 0..object.size.min(Proof::BYTES_MAX)).await?;
        let proof = std::str::from_utf8(&bytes).ok().and_then(Proof::parse);
        Ok(proof.and_then(|proof| proof.damaged))
    }

    pub(super) async fn histories(&self) -> Result<Vec<History>, StoreError> {
        let mut histories = Vec::new();
        for generation in self.generations().await? {
            histories.push(self.history(generation).await?);
        }
        Ok(histories)
    }

    pub(super) async fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        let names = self.store.list_directories(Key::GENERATIONS).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(super) async fn history(&self, generation: Generation) -> Result<History, StoreError> {
        let objects = self.store.list(&Key::generation_prefix(generation)).await?;
        Ok(history(generation, &objects))
    }
}
