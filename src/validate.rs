//! Proves, at intervals, that a replica can be restored.
//!
//! This is Litestream's `validation-interval`. The replica is restored to a temporary file just as
//! a user would restore it: every object is read and checked, the result must have the digest of
//! the source at its last commit, and SQLite must find it well-formed. The proof is kept beside
//! the generations, for `restore -last-verified`. This needs as much free space in the directory
//! for temporary files as the database takes.
//!
//! From then on, only added objects are read, once: the digests of the pages of the restored
//! database are kept, and with the pages of a new segment they must add up to the digest in its
//! seal. A listing shows whether the proven objects are still there unchanged. So the cost does
//! not depend on the size of the database.
//!
//! Segments alone do not show whether SQLite finds the database well-formed, and whether a proven
//! object can still be read. So everything is restored again when there is a new snapshot or
//! generation, after any irregularity, and after `restore_interval`. Damage on the disk of the
//! database is noticed with the next snapshot, because its digest differs from the one followed
//! through the log. Damaged pages that SQLite itself wrote are noticed within that interval.
//!
//! Replicas without seals, as Litestream writes them, are restored each time.

mod course;
mod defect;
mod newest;
mod proven;
mod report;
mod schedule;
mod segment;

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tracing::{info, warn};

use crate::catalog::{self, AlteredRecord};
use crate::format::{Generation, Key, Proof, ProofRecord, Seal, WalPos};
use crate::replicate::{
    DatabaseOptions, ReplicaMetrics, ReplicaOptions, acknowledged, fork, has_defect, note_validated,
};
use crate::restore::{
    Reporting, RestoreError, RestoreOptions, Restored, Target, TemporaryDirectory, Unlinked,
    Verdict, restore_reporting,
};
use crate::sqlite::integrity_check;
use crate::store::{self, Location, ObjectStore, Retrying, Store};
use crate::verify::{VerifyOptions, verify};
use course::{course, until};
use defect::Defect;
use newest::{expect_all, expect_latest, expect_same};
use proven::{Proven, newest_seal};
use report::Validated;
use schedule::{pause, restore_interval};

/// Requests at a time: few, because the replica is being written meanwhile.
const PARALLELISM: usize = 2;

/// How long to wait after a failure. What was listed may have expired before it was read.
const SECOND_TRY: Duration = Duration::from_secs(5);

/// The validation of one replica.
struct Validation<'a> {
    database: &'a DatabaseOptions,
    replica: &'a ReplicaOptions,
    metrics: &'a ReplicaMetrics,
    /// Has the replica mended, and is told whether it could be restored before.
    mend: &'a (dyn Fn(bool) + Sync),
    /// What was wrong with it the last time.
    defect: Option<String>,
    /// What was proven, to continue from, and where it is.
    proven: Option<(Location, Proven)>,
    /// The seal of the newest object that was ever proven.
    newest: Option<Seal>,
}

/// Validates a replica at its interval, for ever. Calls `mend` each time that something in the
/// replica keeps it from being restored, with whether it could be restored before.
pub async fn validate(
    database: &DatabaseOptions,
    replica: &ReplicaOptions,
    metrics: &ReplicaMetrics,
    mend: &(dyn Fn(bool) + Sync),
) {
    let mut validation =
        Validation { database, replica, metrics, mend, defect: None, proven: None, newest: None };
    // Whoever stopped it may have mended it.
    let mut failures = u32::from(has_defect(database, &replica.name));
    loop {
        tokio::time::sleep(pause(replica.validation_interval, failures)).await;
        failures = if validation.run().await { 0 } else { failures + 1 };
    }
}

impl Validation<'_> {
    /// Validates once. Returns `false` if two attempts failed.
    async fn run(&mut self) -> bool {
        let (db, name) = (self.database.path.display(), &self.replica.name);
        let began = Instant::now();
        let mut outcome = self.try_once().await;
        if let Err(failure) = &outcome {
            let reason = format!("{failure:#}");
            // What is known already may be mended by now, and is looked at once.
            if self.defect.as_ref() != Some(&reason) {
                warn!(%db, name, reason, "validation failed, trying again");
                tokio::time::sleep(SECOND_TRY).await;
                outcome = self.try_once().await;
            }
        }
        match outcome {
            Ok(validated) => {
                self.defect = None;
                self.report(&validated, began.elapsed());
                true
            }
            Err(failure) => {
                self.proven = None;
                self.report_failure(&failure);
                false
            }
        }
    }

    async fn try_once(&mut self) -> anyhow::Result<Validated> {
        let fork = fork(self.database, &self.replica.name)?;
        let location = match fork {
            Some(fork) => self.replica.location.below(&Key::fork_root(fork)),
            None => self.replica.location.clone(),
        };
        // Read before listing: the replica may hold more by then, but never less.
        let acknowledged = acknowledged(&self.database.state_directory, &self.replica.name, fork)?;
        if let Some(segments) = self.follow(&location, acknowledged).await? {
            return Ok(Validated::Followed { segments });
        }
        self.proven = None;
        self.restore(location, acknowledged).await
    }

    /// Reads what was added since the last proof. Returns `None` if everything must be restored,
    /// too.
    async fn follow(
        &mut self,
        location: &Location,
        acknowledged: Option<(Generation, WalPos)>,
    ) -> anyhow::Result<Option<usize>> {
        let Some((_, proven)) = self.proven.as_mut().filter(|(at, _)| at == location) else {
            return Ok(None);
        };
        let store = open(self.replica, location).await?;
        let listed = catalog::histories(&store, 1).await?;
        expect_latest(&listed, acknowledged)?;
        let generation = proven.seal.generation;
        let course = course(&proven.history, proven.seal.end, &listed);
        for segment in &course.segments {
            let Some((_, proven)) = &mut self.proven else { return Ok(None) };
            let change = match proven.fetch(&store, segment).await {
                // A restore knows which strays to leave out.
                Err(error) if error.is::<Unlinked>() => return Ok(None),
                change => change?,
            };
            let Some((at, proven)) = self.proven.take() else { return Ok(None) };
            let Some(proven) = proven.follow(change).await? else { return Ok(None) };
            self.newest = Some(proven.seal);
            self.proven = Some((at, proven));
        }
        if course.altered {
            self.explain(store, generation).await?;
        }
        let Some((_, proven)) = &mut self.proven else { return Ok(None) };
        if let Some(now) = listed.iter().find(|history| history.generation == generation) {
            proven.history = until(now, proven.seal.end);
        }
        let due = proven.restored.elapsed() >= restore_interval(self.replica.retention);
        Ok((course.restore.is_none() && !due).then_some(course.segments.len()))
    }

    /// Fails with the names of objects that are missing or replaced. There are none if only the
    /// times of storage have changed, or if objects have expired meanwhile.
    async fn explain(&self, store: Retrying<Store>, generation: Generation) -> anyhow::Result<()> {
        let options =
            VerifyOptions { generation: Some(generation), full: None, parallelism: PARALLELISM };
        let verified = verify(&self.replica.name, Arc::new(store), &options).await?;
        let mut defects = verified.iter().flat_map(|verified| &verified.defects);
        match defects.next() {
            Some(first) => match defects.count() {
                0 => Err(Defect::error(first)),
                others => {
                    let what = format!("{first}, and {others} others: see `litestream verify`");
                    Err(Defect::error(what))
                }
            },
            None => Ok(()),
        }
    }

    async fn restore(
        &mut self,
        location: Location,
        acknowledged: Option<(Generation, WalPos)>,
    ) -> anyhow::Result<Validated> {
        let directory = TemporaryDirectory::create("validation")?;
        let options = RestoreOptions {
            output: directory.path().join("replica"),
            replace: false,
            target: Target::Latest,
            generation: None,
            parallelism: PARALLELISM,
        };
        let store = open(self.replica, &location).await?;
        let listed = catalog::histories(&store, 1).await?;
        let stores = vec![(self.replica.name.clone(), open(self.replica, &location).await?)];
        let restored = match restore_reporting(stores, &options, Reporting::NONE).await {
            Ok(restored) => restored,
            Err(RestoreError::NoBackup)
                if acknowledged.is_none() && catalog::proof_record(&store).await?.is_none() =>
            {
                return Ok(Validated::Nothing);
            }
            Err(error @ RestoreError::NoBackup) if self.replica.location.may_be_unmounted() => {
                return Err(error).with_context(|| {
                    format!("{} is empty, as if its disk were not mounted", self.replica.location)
                });
            }
            Err(error @ RestoreError::NoBackup) => return Err(Defect::error(error)),
            Err(RestoreError::Other(error)) => return Err(error),
            Err(error) => return Err(error.into()),
        };
        let before = self.recorded(&store).await?;
        expect_all(&restored, acknowledged, before.last, self.newest.as_ref())?;
        expect_latest(&listed, acknowledged)?;
        if let Some(seal) = newest_seal(&store, &restored).await? {
            expect_same(&seal, self.newest.as_ref())?;
            self.newest = Some(seal);
        }
        let output = options.output.clone();
        let checked = tokio::task::spawn_blocking(move || integrity_check(&output)).await?;
        let (unchecked, damage) = match checked {
            Ok(unchecked) => (unchecked, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        if !unchecked.is_empty() {
            let (db, name) = (self.database.path.display(), &self.replica.name);
            let unchecked = unchecked.join("; ");
            info!(%db, name, unchecked, "SQLite could not check all of it without the application");
        }
        let record = next(before, &restored, damage.is_some(), SystemTime::now());
        if let Some(record) = record {
            let text = record.to_text();
            let length = text.len() as u64;
            let put = store.put(ProofRecord::KEY, Box::new(Cursor::new(text)), length).await;
            put.context("cannot store what was proven")?;
        }
        note_validated(self.database, &self.replica.name, &record.unwrap_or(before))
            .context("cannot take note of what was proven")?;
        let before = before.last;
        if damage.is_none() && restored.verdict != Verdict::Unsealed {
            let proven = Proven::new(&store, &restored, &options.output, &listed).await?;
            self.proven = proven.map(|proven| (location, proven));
        }
        Ok(Validated::Restored { restored, damage, before })
    }

    /// The record of earlier validations. An altered record is ignored, and will be replaced.
    async fn recorded(&self, store: &impl ObjectStore) -> store::Result<ProofRecord> {
        Ok(match catalog::proof_record(store).await? {
            None => ProofRecord::default(),
            Some(Ok(record)) => record,
            Some(Err(AlteredRecord)) => {
                let (db, name) = (self.database.path.display(), &self.replica.name);
                warn!(%db, name, "the record of what was proven before is altered, it begins anew");
                ProofRecord::default()
            }
        })
    }
}

async fn open(replica: &ReplicaOptions, location: &Location) -> store::Result<Retrying<Store>> {
    Ok(Retrying::new(&replica.name, Store::open(location).await?))
}

/// The record to store now, or `None` if it stays as it is.
///
/// The last proof is kept when the database turns out to be damaged: it is what somebody will
/// need. The damage is recorded even without any proof: the history may go back to before the
/// damage, and that part must not expire.
fn next(
    before: ProofRecord,
    restored: &Restored,
    damaged: bool,
    now: SystemTime,
) -> Option<ProofRecord> {
    let Restored { generation, position, .. } = *restored;
    if damaged {
        return before.damaged.is_none().then_some(ProofRecord { damaged: Some(now), ..before });
    }
    let proof = Proof { generation, position, proven: now };
    Some(ProofRecord { last: Some(proof), damaged: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Generation;

    #[test]
    fn what_was_good_is_remembered_while_the_database_is_damaged() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let restored = |position: &str| Restored {
            replica: String::new(),
            generation: Generation::from_bits(1),
            position: position.parse().unwrap(),
            bytes: 0,
            created: at(0),
            verdict: Verdict::Unsealed,
        };
        let [first, later] = ["00000000_00001038", "00000001_00001038"].map(restored);
        let nothing = ProofRecord::default();
        let damaged = next(nothing, &first, true, at(1)).unwrap();
        assert_eq!(damaged, ProofRecord { last: None, damaged: Some(at(1)) });
        assert_eq!(next(damaged, &later, true, at(2)), None, "since when is known");
        let good = next(damaged, &first, false, at(2)).unwrap();
        let (proof, damage) = (good.last.unwrap(), good.damaged);
        assert_eq!((proof.position, proof.proven, damage), (first.position, at(2), None));
        let damaged = next(good, &later, true, at(3)).unwrap();
        assert_eq!(damaged, ProofRecord { damaged: Some(at(3)), ..good });
        assert_eq!(next(damaged, &later, true, at(4)), None, "since when is known");
        let mended = next(damaged, &later, false, at(5)).unwrap();
        assert_eq!((mended.last.unwrap().position, mended.damaged), (later.position, None));
    }
}
