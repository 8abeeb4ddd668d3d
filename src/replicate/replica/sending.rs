use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Clock};

use anyhow::Context;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::reconcile::follows;
use super::{Connected, Failures, Replica, STORING, stopping};
use crate::catalog::{self, LATER_FORMAT};
use crate::failpoint::Failpoint;
use crate::format::{Generation, Key, Link, Seal, WalPos};
use crate::replicate::durable::{Durability, is_full};
use crate::replicate::message::Report;
use crate::replicate::message::SnapshotFailure::{self, Mismatch, NotTaken};
use crate::replicate::sent::Sent;
use crate::replicate::snapshot::{Snapshot, is_mismatch};
use crate::replicate::staging::Staged;
use crate::replicate::tip::Tip;
use crate::store::{ObjectStore, StoreError};

/// How often the progress of a snapshot is logged.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Which of the staged segments are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// All of them. Each is retried until it is stored.
    All,
    /// Those before a snapshot that waits for them. None is retried: meanwhile the log could not be
    /// checkpointed.
    Before(WalPos),
}

impl Due {
    fn includes(self, pos: WalPos) -> bool {
        match self {
            Self::All => true,
            Self::Before(snapshot) => pos < snapshot,
        }
    }
}

impl Connected {
    /// Waits until the next segments may be sent.
    pub(super) async fn keep_interval(&self) {
        // The tail keeps the shortest interval of all replicas; this is for replicas with a longer
        // one.
        let Some(last) = self.last_sent else { return };
        let due = last + self.replica.options.sync_interval.mul_f64(0.9);
        let mut captured = self.replica.captured.clone();
        tokio::select! {
            () = sleep_until(due) => (),
            _ = captured.wait_for(|captured| captured.stopping) => (),
        }
    }

    /// Sends the staged segments of a generation that the replica holds.
    pub(super) async fn send_segments(
        &mut self,
        generation: Generation,
        due: Due,
    ) -> anyhow::Result<()> {
        for staged in self.replica.staging.segments(generation)? {
            let Some((_, link)) = self.tip.filter(|(of, _)| *of == generation) else { break };
            let captured = *self.replica.captured.borrow();
            let counted = captured.generation != Some(generation) || staged.pos < captured.pos;
            if !due.includes(staged.pos)
                || !counted
                || !self.send_segment(&staged, link, due).await?
            {
                break;
            }
        }
        Ok(())
    }

    /// Sends one segment. Returns `false` if it must not be sent, as when something is missing
    /// before it.
    async fn send_segment(
        &mut self,
        staged: &Staged,
        link: Link,
        due: Due,
    ) -> anyhow::Result<bool> {
        let seal = match follows(staged, link) {
            Ok(Ok(seal)) => seal,
            Ok(Err(reason)) => {
                self.diverged(staged.generation, reason).await;
                return Ok(false);
            }
            // The tail took it back: it belongs to a generation that was given up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).context("read a staged segment"),
        };
        self.replica.metrics.set_oldest_unreplicated(Some(staged.since));
        if !self.is_alone(staged.generation).await {
            return Ok(false);
        }
        let began = Clock::now();
        self.last_sent = Some(Instant::now());
        self.company.on_its_way = Some(Sent::of(&seal));
        let mut failures = Failures::insisting("sending a segment");
        loop {
            let file = match File::open(&staged.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error).context("open a staged segment"),
            };
            match self.create_segment(staged, &seal, file).await {
                Ok(None) => break,
                Ok(Some(reason)) => {
                    self.diverged(staged.generation, reason.to_owned()).await;
                    return Ok(false);
                }
                Err(error) if matches!(due, Due::Before(_)) => return Err(error.into()),
                Err(error) => {
                    failures.wait(&self.replica, &error).await;
                    self.decline_snapshots();
                }
            }
        }
        Failpoint::SegmentSent.pass()?;
        let tip = Some((staged.generation, seal.link()));
        let note = || self.replica.staging.note_sent(Sent::of(&seal), Durability::Process);
        let context = "take note of a segment that was sent";
        match note() {
            // Removing the segment that was sent makes room on the disk.
            Err(error) if is_full(&error) => {
                staged.remove()?;
                self.tip = tip;
                note().context(context)?;
            }
            noted => {
                noted.context(context)?;
                staged.remove()?;
                self.tip = tip;
            }
        }
        self.replica.report(Report::SegmentStored);
        let metrics = &self.replica.metrics;
        metrics.wal_bytes.inc_by(seal.end.offset - seal.start.offset);
        metrics.wal_index.set(seal.end.index.get().into());
        metrics.wal_offset.set(i64::try_from(seal.end.offset).unwrap_or(i64::MAX));
        debug!(
            db = %self.replica.database.display(), name = self.replica.options.name,
            position = %seal.start, sz = staged.bytes, elapsed = ?began.elapsed(),
            "wal segment written",
        );
        self.check_conditions().await;
        Ok(true)
    }

    /// Creates the object of a segment. Returns how another daemon is in its way, or `None` if none
    /// is.
    async fn create_segment(
        &mut self,
        staged: &Staged,
        seal: &Seal,
        file: File,
    ) -> Result<Option<&'static str>, StoreError> {
        let key = staged.key();
        match self.store.create(&key.to_string(), Box::new(file), staged.bytes).await {
            Ok(()) => self.company.created = Some((staged.generation, staged.pos)),
            Err(StoreError::Exists { .. }) => match self.seal_in_place(key).await? {
                // The segment is ours: it was stored, and only the answer was lost.
                Ok(Some(found)) if found == *seal => (),
                _ => return Ok(Some("another daemon writes to it")),
            },
            Err(error) => return Err(error),
        }
        let has_rival = self.has_rival(staged, seal).await?;
        Ok(has_rival.then_some("another daemon goes on with it"))
    }

    /// Stores another snapshot of a generation that the replica holds. Gives up when the tail is
    /// stopping: the snapshot is not needed then.
    pub(super) async fn store_unless_stopping(&mut self, snapshot: Snapshot) {
        let (stopping, generation) = (stopping(&self.replica), snapshot.seal.generation);
        let stored = tokio::select! {
            () = self.store_snapshot(snapshot) => true,
            () = stopping => false,
        };
        if !stored {
            self.replica.metrics.set_joining(false);
            self.replica.report(Report::SnapshotFailed(generation, NotTaken));
        }
    }

    /// Whether the replica holds something of a generation.
    pub(super) fn holds(&self, generation: Generation) -> bool {
        self.tip.is_some_and(|(of, _)| of == generation)
    }

    /// Stores a snapshot, after every segment that was cut before it.
    ///
    /// When the answer to the first snapshot of a generation is lost, it may be in the store, and
    /// another generation begins. The snapshot is left in its place: until the other generation has
    /// begun, it may be the only backup there is. From then on it belongs to a generation of ours
    /// that has ended, and expires like any other.
    pub(super) async fn store_snapshot(&mut self, snapshot: Snapshot) {
        self.asked = None;
        let generation = snapshot.seal.generation;
        if !self.replica.is_current(generation) {
            // The generation was given up before it began here.
            return self.replica.report(Report::SnapshotFailed(generation, NotTaken));
        }
        self.replica.metrics.set_joining(true);
        let outcome = self.try_store_snapshot(&snapshot).await;
        self.replica.metrics.set_joining(false);
        match outcome {
            Ok(None) => {
                self.snapshot_failures = Failures::insisting(STORING);
                if !self.holds(generation) {
                    self.joined(&snapshot.seal);
                }
                self.company.snapshot = Some(snapshot.key());
                self.maintenance.snapshot_stored(&snapshot.seal);
                self.replica.report(Report::SnapshotStored(generation));
            }
            Ok(Some(reason)) => {
                self.snapshot_failed(generation, NotTaken);
                self.diverged(generation, reason).await;
            }
            Err(error) => {
                let cause = match &error {
                    StoreError::Source(cause) if is_mismatch(cause) => Mismatch,
                    _ => NotTaken,
                };
                self.snapshot_failed(generation, cause);
                self.snapshot_failures.wait(&self.replica, &error).await;
            }
        }
    }

    pub(super) fn snapshot_failed(&mut self, generation: Generation, cause: SnapshotFailure) {
        self.maintenance.snapshot_failed();
        self.replica.report(Report::SnapshotFailed(generation, cause));
    }

    /// Takes note that the replica has joined a generation.
    fn joined(&mut self, seal: &Seal) {
        self.tip = Some((seal.generation, seal.link()));
        // Without the note the generation is still known to be ours.
        self.note_sent(Sent::of(seal));
    }

    /// Stores a snapshot. Returns why it must not be stored, or `None` if it was.
    async fn try_store_snapshot(
        &mut self,
        snapshot: &Snapshot,
    ) -> Result<Option<String>, StoreError> {
        let generation = snapshot.seal.generation;
        let held = self.holds(generation);
        if held {
            let start = snapshot.seal.start;
            if let Some(reason) = self.check_alone(generation).await? {
                return Ok(Some(reason));
            }
            // A snapshot must not be stored before the segments that it follows.
            self.send_segments(generation, Due::Before(start))
                .await
                .map_err(StoreError::Unavailable)?;
            let staged = self.replica.staging.segments(generation);
            let first = staged.map_err(|error| StoreError::Unavailable(error.into()))?;
            if !self.holds(generation) || first.first().is_some_and(|staged| staged.pos < start) {
                return Err(StoreError::Unavailable(anyhow::anyhow!(
                    "segments before it are missing"
                )));
            }
            if self.ends_otherwise(generation).await? {
                return Ok(Some("another daemon writes to it".to_owned()));
            }
        }
        let began = Clock::now();
        let (db, name) = (self.replica.database.display(), &self.replica.options.name);
        let index = snapshot.seal.start.index;
        let bytes = snapshot.image.bytes();
        if self.snapshot_failures.has_failed() {
            debug!(%db, name, %generation, %index, bytes, "write snapshot");
        } else {
            info!(%db, name, %generation, %index, bytes, "write snapshot");
        }
        let key = snapshot.key().to_string();
        let before =
            self.company.snapshot.filter(|before| held && before.generation() == generation);
        let sealed = match before.map(|before| before.start().index) {
            Some(before) if before < index => &snapshot.behind(before),
            _ => snapshot,
        };
        self.company.snapshot_on_its_way = Some(snapshot.key());
        self.put_snapshot(&key, sealed).await?;
        self.company.snapshot_on_its_way = None;
        Failpoint::SnapshotStored.reach();
        if !held {
            self.yield_to_others(generation, &key).await?;
        }
        info!(%db, name, %generation, %index, elapsed = ?began.elapsed(), "snapshot written");
        Ok(None)
    }

    /// Stores the object of a snapshot, and logs the progress now and then.
    async fn put_snapshot(&self, key: &str, snapshot: &Snapshot) -> Result<(), StoreError> {
        let object = snapshot.object();
        let (read, bytes) = (object.bytes_read(), snapshot.image.bytes());
        let stored = self.store.put(key, Box::new(object), snapshot.size_max());
        tokio::pin!(stored);
        loop {
            if let Ok(stored) = timeout(PROGRESS_INTERVAL, &mut stored).await {
                return stored;
            }
            let read = read.load(Ordering::Relaxed);
            info!(
                db = %self.replica.database.display(), name = self.replica.options.name,
                generation = %snapshot.seal.generation, index = %snapshot.seal.start.index,
                bytes, percent = 100 * read / bytes.max(1),
                "writing snapshot",
            );
        }
    }

    /// Whether the replica ends with something other than what was sent to it last.
    pub(super) async fn ends_otherwise(&self, generation: Generation) -> Result<bool, StoreError> {
        let newest = self.newest_seal(generation).await?;
        let Some((Ok(Some(newest)), _)) = newest else { return Ok(false) };
        Ok(Some((generation, newest.link())) != self.tip)
    }

    /// Waits until the store answers, and logs it if there is nothing but what a later version of
    /// Litestream wrote: we begin beside that, and do not continue it.
    pub(super) async fn probe(&mut self) {
        let generations = self
            .insist("looking at the replica", |it| catalog::generations(&it.store).boxed())
            .await;
        if generations.is_empty() && catalog::has_later_format(&self.store).await.unwrap_or(false) {
            let Replica { database, options, .. } = &self.replica;
            warn!(
                db = %database.display(), name = options.name,
                "this replica holds a backup of Litestream 0.5, in {LATER_FORMAT}, which is left \
                 alone and not gone on with: a new backup begins beside it. Give it a path of its \
                 own, unless the old one is not needed"
            );
        }
    }

    /// Looks up the newest object that the replica holds. Waits until the store answers.
    pub(super) async fn probe_newest(&mut self) -> Option<Tip> {
        self.insist("looking at the replica", |it| it.newest_object().boxed()).await
    }

    /// Deletes objects, in the order of the batches.
    pub(super) async fn delete(&self, batches: &[Vec<Key>]) {
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            let keys: Vec<String> = batch.iter().map(Key::to_string).collect();
            if let Err(error) = self.store.delete(&keys).await {
                let name = &self.replica.options.name;
                if matches!(error, StoreError::Unavailable(_)) {
                    warn!(name, "cannot delete expired objects, will retry: {error}");
                } else {
                    error!(name, "cannot delete expired objects: {error}");
                }
                return;
            }
        }
    }
}
