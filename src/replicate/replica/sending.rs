use std::fs::File;
use std::io;
use std::time::Instant as Clock;

use anyhow::Context;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::reconcile::follows;
use super::{Connected, Failures, PAUSE_MAX};
use crate::format::{Generation, Key, Link, WalPos};
use crate::replicate::backoff::Backoff;
use crate::replicate::message::Report;
use crate::replicate::snapshot::Snapshot;
use crate::replicate::staging::Staged;
use crate::store::{ObjectStore, StoreError};

impl Connected {
    /// Sends the staged segments of a generation that the replica holds.
    ///
    /// With `snapshot`, those before the position of a snapshot that waits for them, and without
    /// being tried again.
    pub(super) async fn send_segments(
        &mut self,
        generation: Generation,
        snapshot: Option<WalPos>,
    ) -> anyhow::Result<()> {
        for staged in self.replica.staging.segments(generation)? {
            let Some((_, link)) = self.tip.filter(|(of, _)| *of == generation) else { break };
            let due = snapshot.is_none_or(|snapshot| staged.pos < snapshot);
            let captured = *self.replica.captured.borrow();
            let counted = captured.generation != Some(generation) || staged.pos < captured.pos;
            if !due || !counted || !self.send_segment(&staged, link, snapshot.is_some()).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends one segment. `false` if it must not be sent, because something is missing before it.
    async fn send_segment(
        &mut self,
        staged: &Staged,
        link: Link,
        once: bool,
    ) -> anyhow::Result<bool> {
        let seal = match follows(staged, link) {
            Ok(Ok(seal)) => seal,
            Ok(Err(reason)) => {
                self.tip = None;
                self.asked = true;
                self.replica.report(Report::Diverged(staged.generation, reason));
                self.replica.report(Report::WantsSnapshot);
                return Ok(false);
            }
            // The tail took it back: it belongs to a generation that was given up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).context("read a staged segment"),
        };
        self.replica.metrics.set_oldest_unreplicated(Some(staged.since));
        let began = Clock::now();
        self.last_sent = Some(Instant::now());
        let key = staged.key().to_string();
        let mut failures = Failures::new("sending a segment");
        loop {
            let file = match File::open(&staged.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error).context("open a staged segment"),
            };
            match self.store.put(&key, Box::new(file), staged.bytes).await {
                Ok(()) => break,
                Err(error) if once => return Err(error.into()),
                Err(error) => {
                    failures.wait(&self.replica, &error).await;
                    self.decline_snapshots();
                }
            }
        }
        staged.remove()?;
        self.tip = Some((staged.generation, seal.link()));
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
        Ok(true)
    }

    /// Stores a snapshot, after every segment that was cut before it.
    pub(super) async fn store_snapshot(&mut self, snapshot: Snapshot) {
        self.asked = false;
        let generation = snapshot.seal.generation;
        if self.replica.captured.borrow().generation != Some(generation) {
            // Given up before it began.
            return self.replica.report(Report::SnapshotFailed(generation, false));
        }
        let outcome = self.try_store_snapshot(&snapshot).await;
        let report = match &outcome {
            Ok(()) => {
                self.snapshot_pause = Backoff::new(PAUSE_MAX);
                let link = snapshot.seal.previous;
                self.tip =
                    self.tip.filter(|(of, _)| *of == generation).or(Some((generation, link)));
                self.maintenance.snapshot_stored(&snapshot.seal);
                Report::SnapshotStored(generation)
            }
            Err(error) => {
                self.maintenance.snapshot_failed();
                let wrong = matches!(error, StoreError::Source(_));
                Report::SnapshotFailed(generation, wrong)
            }
        };
        self.replica.report(report);
        if let Err(error) = outcome {
            Failures::new("storing a snapshot").wait(&self.replica, &error).await;
            tokio::time::sleep(self.snapshot_pause.pause(fastrand::f64())).await;
        }
    }

    async fn try_store_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let generation = snapshot.seal.generation;
        let held = self.tip.is_some_and(|(of, _)| of == generation);
        if held {
            // A snapshot must not be there before the segments that it follows.
            let start = snapshot.seal.start;
            self.send_segments(generation, Some(start)).await.map_err(StoreError::Unavailable)?;
            let staged = self.replica.staging.segments(generation);
            let first = staged.map_err(|error| StoreError::Unavailable(error.into()))?;
            let held = self.tip.is_some_and(|(of, _)| of == generation);
            if !held || first.first().is_some_and(|staged| staged.pos < start) {
                return Err(StoreError::Unavailable(anyhow::anyhow!(
                    "segments before it are missing"
                )));
            }
        }
        let began = Clock::now();
        let (db, name) = (self.replica.database.display(), &self.replica.options.name);
        let index = snapshot.seal.start.index;
        info!(%db, name, %generation, %index, bytes = snapshot.image.bytes(), "write snapshot");
        let key = snapshot.key().to_string();
        let object = Box::new(snapshot.object());
        self.store.put(&key, object, snapshot.size_max()).await?;
        info!(%db, name, %generation, %index, elapsed = ?began.elapsed(), "snapshot written");
        Ok(())
    }

    /// Waits until the store answers.
    pub(super) async fn probe(&mut self) {
        let mut failures = Failures::new("looking at the replica");
        while let Err(error) = self.store.list_directories(Key::GENERATIONS).await {
            failures.wait(&self.replica, &error).await;
            self.decline_snapshots();
        }
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
