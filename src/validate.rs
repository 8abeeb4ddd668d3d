//! Proves, again and again, that a replica can be restored.
//!
//! Litestream's `validation-interval`. The replica is restored to a temporary file just as a user
//! would restore it: every object is read and checked, and the result must have the digest of the
//! source at its last commit. Needs as much free space in the directory for temporary files as the
//! database is large.

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::replicate::{ReplicaMetrics, ReplicaOptions};
use crate::restore::{
    RestoreError, RestoreOptions, Restored, Target, TemporaryDirectory, Verdict, restore,
};
use crate::store::Store;

/// Requests at a time: the replica is being written meanwhile.
const PARALLELISM: usize = 2;

/// After a failure. What was listed may have expired while it was read.
const SECOND_TRY: Duration = Duration::from_secs(5);

/// Validates a replica in its interval, for ever.
pub async fn validate(database: &Path, replica: &ReplicaOptions, metrics: &ReplicaMetrics) {
    loop {
        tokio::time::sleep(replica.validation_interval).await;
        let began = Instant::now();
        let mut outcome = try_restore(replica).await;
        if let Err(failure) = &outcome {
            let reason = format!("{failure:#}");
            warn!(db = %database.display(), name = replica.name, reason, "validation failed, trying again");
            tokio::time::sleep(SECOND_TRY).await;
            outcome = try_restore(replica).await;
        }
        report(database, &replica.name, metrics, &outcome, began.elapsed());
    }
}

fn report(
    database: &Path,
    name: &str,
    metrics: &ReplicaMetrics,
    outcome: &anyhow::Result<Restored>,
    elapsed: Duration,
) {
    let db = database.display();
    match outcome {
        Ok(restored) => {
            metrics.validation_ok.inc();
            let proof = match restored.verdict {
                Verdict::Identical { .. } => "identical to the source at its last commit",
                Verdict::Unsealed => "checksums are right; it was not written by this program",
            };
            let (generation, position) = (restored.generation, restored.position);
            info!(%db, name, status = "ok", %generation, %position, ?elapsed, proof, "validator");
        }
        Err(failure) => {
            metrics.validation_error.inc();
            let reason = format!("{failure:#}");
            error!(%db, name, status = "error", reason, "validator: the replica cannot be restored");
        }
    }
}

async fn try_restore(replica: &ReplicaOptions) -> anyhow::Result<Restored> {
    let store = Store::open(&replica.location).await?;
    let directory = TemporaryDirectory::create("validation")?;
    let options = RestoreOptions {
        output: directory.path().join("replica"),
        replace: false,
        target: Target::Latest,
        generation: None,
        parallelism: PARALLELISM,
    };
    match restore(vec![(replica.name.clone(), store)], &options).await {
        Ok(restored) => Ok(restored),
        Err(RestoreError::Other(error)) => Err(error),
        Err(error) => Err(error.into()),
    }
}
