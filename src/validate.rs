//! Proves, again and again, that a replica can be restored.
//!
//! Litestream's `validation-interval`. The replica is restored to a temporary file just as a user
//! would restore it: every object is read and checked, the result must have the digest of the
//! source at its last commit, and SQLite must find it well-formed. What was proven is kept beside
//! the generations, for `restore -last-verified`. Needs as much free space in the directory for
//! temporary files as the database is large.

use std::io::Cursor;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tracing::{error, info, warn};

use crate::format::{Key, Proof};
use crate::replicate::{DatabaseOptions, ReplicaMetrics, ReplicaOptions, fork};
use crate::restore::{
    RestoreError, RestoreOptions, Restored, Target, TemporaryDirectory, Verdict, proof, restore,
};
use crate::sqlite::integrity_check;
use crate::store::{ObjectStore, Store};

/// Requests at a time: the replica is being written meanwhile.
const PARALLELISM: usize = 2;

/// After a failure. What was listed may have expired while it was read.
const SECOND_TRY: Duration = Duration::from_secs(5);

/// A replica whose restores are tried.
struct Validation<'a> {
    database: &'a DatabaseOptions,
    replica: &'a ReplicaOptions,
    metrics: &'a ReplicaMetrics,
}

/// What a restore came to.
struct Validated {
    restored: Restored,
    /// What SQLite has against it.
    damage: Option<String>,
    /// What was proven before.
    before: Option<Proof>,
}

/// Validates a replica in its interval, for ever.
pub async fn validate(
    database: &DatabaseOptions,
    replica: &ReplicaOptions,
    metrics: &ReplicaMetrics,
) {
    let validation = Validation { database, replica, metrics };
    loop {
        tokio::time::sleep(replica.validation_interval).await;
        validation.run().await;
    }
}

impl Validation<'_> {
    async fn run(&self) {
        let (db, name) = (self.database.path.display(), &self.replica.name);
        let began = Instant::now();
        let mut outcome = self.try_once().await;
        if let Err(failure) = &outcome {
            let reason = format!("{failure:#}");
            warn!(%db, name, reason, "validation failed, trying again");
            tokio::time::sleep(SECOND_TRY).await;
            outcome = self.try_once().await;
        }
        match outcome {
            Ok(validated) => self.report(&validated, began.elapsed()),
            Err(failure) => {
                self.metrics.validated(false);
                let reason = format!("{failure:#}");
                error!(%db, name, status = "error", reason, "validator: the replica cannot be restored");
            }
        }
    }

    fn report(&self, validated: &Validated, elapsed: Duration) {
        let (db, name) = (self.database.path.display(), &self.replica.name);
        let Validated { restored, damage, before } = validated;
        let (generation, position) = (restored.generation, restored.position);
        self.metrics.validated(damage.is_none());
        if let Some(damage) = damage {
            let good = before.map_or_else(
                || "it is not known when it was good".to_owned(),
                |proof| {
                    let proven = humantime::format_rfc3339_seconds(proof.proven);
                    format!("it was good at {proven}: `restore -last-verified` gives that")
                },
            );
            error!(
                %db, name, status = "damaged", %generation, %position, damage, good,
                "validator: the database itself is damaged. Nothing expires from the replica until \
                 it is well-formed again"
            );
            return;
        }
        let proof = match restored.verdict {
            Verdict::Identical { .. } => "identical to the source at its last commit",
            Verdict::Unsealed => "checksums are right; it was not written by this program",
        };
        info!(%db, name, status = "ok", %generation, %position, ?elapsed, proof, "validator");
    }

    async fn try_once(&self) -> anyhow::Result<Validated> {
        let location = match fork(self.database, &self.replica.name)? {
            Some(fork) => self.replica.location.below(&Key::fork_root(fork)),
            None => self.replica.location.clone(),
        };
        let directory = TemporaryDirectory::create("validation")?;
        let options = RestoreOptions {
            output: directory.path().join("replica"),
            replace: false,
            target: Target::Latest,
            generation: None,
            parallelism: PARALLELISM,
        };
        let stores = vec![(self.replica.name.clone(), Store::open(&location).await?)];
        let restored = match restore(stores, &options).await {
            Ok(restored) => restored,
            Err(RestoreError::Other(error)) => return Err(error),
            Err(error) => return Err(error.into()),
        };
        let output = options.output;
        let checked = tokio::task::spawn_blocking(move || integrity_check(&output)).await?;
        let damage = checked.err().map(|error| format!("{error:#}"));
        let store = Store::open(&location).await?;
        let before = proof(&store).await?;
        if let Some(proof) = next(before, &restored, damage.is_some(), SystemTime::now()) {
            let text = proof.to_text();
            let length = text.len() as u64;
            let put = store.put(Proof::KEY, Box::new(Cursor::new(text)), length).await;
            put.context("cannot store what was proven")?;
        }
        Ok(Validated { restored, damage, before })
    }
}

/// What is proven now. `None`: nothing else than before, or nothing at all.
///
/// What was proven last stays so when the database turns out to be damaged: it is what somebody
/// will need. Without any proof, there is no position that could be protected.
fn next(
    before: Option<Proof>,
    restored: &Restored,
    damaged: bool,
    now: SystemTime,
) -> Option<Proof> {
    let Restored { generation, position, .. } = *restored;
    match before {
        Some(before) if damaged => {
            let damaged = before.damaged.is_none().then_some(now)?;
            Some(Proof { damaged: Some(damaged), ..before })
        }
        None if damaged => None,
        _ => Some(Proof { generation, position, proven: now, damaged: None }),
    }
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
        assert_eq!(next(None, &first, true, at(1)), None);
        let good = next(None, &first, false, at(2)).unwrap();
        assert_eq!((good.position, good.proven, good.damaged), (first.position, at(2), None));
        let damaged = next(Some(good), &later, true, at(3)).unwrap();
        assert_eq!(damaged, Proof { damaged: Some(at(3)), ..good });
        assert_eq!(next(Some(damaged), &later, true, at(4)), None, "since when is known");
        let mended = next(Some(damaged), &later, false, at(5)).unwrap();
        assert_eq!((mended.position, mended.damaged), (later.position, None));
    }
}
