//! Finds out whether a replica can be restored, and what is wrong with it if not.
//!
//! A quick verification reads the names of all objects and the seals at their ends, which prove
//! that each object belongs there and that none is missing in between. A full one reads every byte
//! of every object too, by restoring each snapshot and what follows it. [`check()`] decides; the
//! rest fetches.
//!
//! A replica changes meanwhile: objects are added, and others expire. Only defects that are found
//! every time are reported.

mod check;
mod hidden;
mod look;
mod rebuild;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use check::{Defect, check};
pub use hidden::{find_hidden, hidden};

use crate::catalog;
use crate::format::{Generation, Key, WalPos};
use crate::restore::Reporting;
use crate::store::{self, ObjectStore};
use look::Look;
use rebuild::Rebuild;

/// How long to wait before each repeated look at apparent defects.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// How often to look at a generation in which something vanishes each time.
const LOOKS_MAX: u32 = 12;

/// How a replica is verified.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The generation to verify, or `None` for all.
    pub generation: Option<Generation>,
    /// If set, everything is read, not only the seals. Says how to report progress, which starts
    /// again with each snapshot.
    pub full: Option<Reporting>,
    /// Requests at a time. Not 0.
    pub parallelism: usize,
}

/// What was found out about a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub generation: Generation,
    /// The first moment that can be restored, by the clock of the store.
    pub from: Option<SystemTime>,
    /// The last moment that can be restored, by the clock of the store.
    pub to: Option<SystemTime>,
    /// Where the last sealed object ends.
    pub end: Option<WalPos>,
    pub objects: usize,
    /// Bytes in the store.
    pub bytes: u64,
    /// Objects without seals, as Litestream writes them, about which less can be proven.
    pub unsealed: usize,
    pub defects: Vec<Defect>,
}

/// Verifies all generations of a replica that `options` ask for. The result is empty without a
/// backup.
///
/// A single failure is an error: pass a [`Retrying`](crate::store::Retrying) store.
pub async fn verify<S: ObjectStore + 'static>(
    name: &str,
    store: Arc<S>,
    options: &VerifyOptions,
) -> anyhow::Result<Vec<Verified>> {
    let mut verified = Vec::new();
    for generation in catalog::generations(&*store).await? {
        if options.generation.is_none_or(|only| only == generation) {
            let verification = Verification { name, store: &store, generation, options };
            verified.extend(verification.run().await?);
        }
    }
    Ok(verified)
}

struct Verification<'a, S> {
    name: &'a str,
    store: &'a Arc<S>,
    generation: Generation,
    options: &'a VerifyOptions,
}

impl<S: ObjectStore + 'static> Verification<'_, S> {
    /// Verifies the generation. Returns `None` if it has expired.
    async fn run(&self) -> anyhow::Result<Option<Verified>> {
        let (mut look, mut defects) = self.settle().await?;
        if let Some(reporting) = self.options.full {
            let parallelism = self.options.parallelism;
            let mut rebuild = Rebuild::new(self.name, self.store, parallelism, reporting)?;
            // Objects that expired while they were read say nothing about the rest.
            while let Some(found) = rebuild.run(&look.history, &look.in_the_way(&defects)).await? {
                let (now, defects_now) = self.settle().await?;
                let expired = look.vanished(&now);
                (look, defects) = (now, defects_now);
                if !expired {
                    defects.extend(found);
                    break;
                }
            }
        }
        Ok(look.summary(defects))
    }

    /// Looks repeatedly, until it is certain which defects are real.
    async fn settle(&self) -> store::Result<(Look, Vec<Defect>)> {
        let mut look = self.look().await?;
        let mut defects = look.defects();
        let (mut quiet, mut looks) = (0, 1);
        while !defects.is_empty() && quiet < PAUSES.len() && looks < LOOKS_MAX {
            tokio::time::sleep(PAUSES[quiet]).await;
            let now = self.look().await?;
            let found = now.defects();
            let known: HashSet<Key> = found.iter().map(|defect| defect.object).collect();
            defects.retain(|defect| known.contains(&defect.object));
            if look.vanished(&now) || defects.is_empty() {
                (quiet, defects) = (0, found);
            } else {
                quiet += 1;
            }
            (look, looks) = (now, looks + 1);
        }
        Ok((look, defects))
    }

    async fn look(&self) -> store::Result<Look> {
        Look::at(&**self.store, self.generation, self.options.parallelism).await
    }
}
