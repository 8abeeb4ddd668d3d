//! Finds out whether a replica can be restored, and what is wrong with it if not.
//!
//! Quick: the names of all objects and the seals at their ends, which prove that each is the one
//! that belongs there and that none is missing in between. Full: every byte of every object too,
//! by restoring what each snapshot leads to. [`check()`] decides; the rest fetches.
//!
//! A replica changes while it is looked at: objects are added, and others expire. Nothing is
//! reported that was not there each time when it was looked at again.

mod check;
mod look;
mod rebuild;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use check::{Defect, check};

use crate::catalog;
use crate::format::{Generation, Key, WalPos};
use crate::restore::Reporting;
use crate::store::{self, ObjectStore};
use look::Look;
use rebuild::Rebuild;

/// Before it is looked again at what seems to be wrong, and the last of them again and again.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// How often it is looked at a generation of which something vanishes each time.
const LOOKS_MAX: u32 = 12;

/// How a replica is verified.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// `None`: all of them.
    pub generation: Option<Generation>,
    /// Read everything, and not only the seals: who is told how far that got, anew for what each
    /// snapshot leads to.
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
    /// The last one.
    pub to: Option<SystemTime>,
    /// Where the last sealed object ends.
    pub end: Option<WalPos>,
    pub objects: usize,
    /// In the store.
    pub bytes: u64,
    /// Objects of Litestream's, of which less can be proven.
    pub unsealed: usize,
    pub defects: Vec<Defect>,
}

/// Verifies all generations of a replica that `options` ask for. Without a backup, there are none.
///
/// What fails once is an error: hand in a [`Retrying`](crate::store::Retrying) store.
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
    /// `None`: the generation has expired.
    async fn run(&self) -> anyhow::Result<Option<Verified>> {
        let (mut look, mut defects) = self.settle().await?;
        if let Some(reporting) = self.options.full {
            let parallelism = self.options.parallelism;
            let mut rebuild = Rebuild::new(self.name, self.store, parallelism, reporting)?;
            // What has expired while it was read says nothing about the rest.
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

    /// Looks until it is sure what is wrong.
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
