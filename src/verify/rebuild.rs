use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tracing::warn;

use super::check::Defect;
use crate::format::{History, Key, WalIndex};
use crate::restore::plan::Plan;
use crate::restore::{
    ApplyError, Reporting, RestoreOptions, Target, TemporaryDirectory, Verdict, restore_exactly,
};
use crate::sqlite::integrity_check;
use crate::store::{ObjectStore, StoreError};

/// Reads every object of a generation, by restoring each snapshot and what follows it.
///
/// A snapshot is restored with the segments up to the next one: together, these restores read each
/// object once, and each of them ends at a digest.
#[derive(Debug)]
pub(super) struct Rebuild<'a, S> {
    name: &'a str,
    store: &'a Arc<S>,
    parallelism: usize,
    reporting: Reporting,
    directory: TemporaryDirectory,
    /// The snapshots whose part was found to be right.
    done: HashSet<WalIndex>,
}

impl<'a, S: ObjectStore + 'static> Rebuild<'a, S> {
    pub(super) fn new(
        name: &'a str,
        store: &'a Arc<S>,
        parallelism: usize,
        reporting: Reporting,
    ) -> anyhow::Result<Self> {
        let directory = TemporaryDirectory::create("verify")?;
        Ok(Self { name, store, parallelism, reporting, directory, done: HashSet::new() })
    }

    /// Reads all parts that were not read before and have none of the `known` defects. Returns
    /// `None` if all of them are right.
    pub(super) async fn run(
        &mut self,
        history: &History,
        known: &[Defect],
    ) -> anyhow::Result<Option<Vec<Defect>>> {
        let mut defects = Vec::new();
        for (plan, last) in parts(history) {
            let index = plan.snapshot.index;
            if self.done.contains(&index) || known.iter().any(|defect| is_part(&plan, defect)) {
                continue;
            }
            match self.rebuild(plan, last).await? {
                Some(defect) => defects.push(defect),
                None => drop(self.done.insert(index)),
            }
        }
        Ok((!defects.is_empty()).then_some(defects))
    }

    async fn rebuild(&self, plan: Plan, last: bool) -> anyhow::Result<Option<Defect>> {
        let output = self.directory.path().join("database");
        let options = RestoreOptions {
            output: output.clone(),
            replace: false,
            target: Target::Latest,
            generation: None,
            parallelism: self.parallelism,
        };
        let key = plan.last_key();
        let store = Arc::clone(self.store);
        match restore_exactly(self.name, store, plan, &options, self.reporting).await {
            // SQLite checks once whether the source was well-formed; elsewhere, the digest proves
            // equality.
            Ok(restored) if last || restored.verdict == Verdict::Unsealed => {
                let unchecked = match ask_sqlite(output).await? {
                    Ok(unchecked) => unchecked,
                    Err(error) => {
                        return Ok(Some(defect(key, &format!("what it leads to: {error:#}"))));
                    }
                };
                if !unchecked.is_empty() {
                    let (replica, unchecked) = (self.name, unchecked.join("; "));
                    warn!(
                        replica, object = %key, unchecked,
                        "SQLite could not check all of what it leads to without the application"
                    );
                }
                Ok(None)
            }
            Ok(_) => {
                fs::remove_file(output)?;
                Ok(None)
            }
            Err(error) => match error.downcast_ref() {
                Some(ApplyError::Object { key, cause }) if !is_failure(&**cause) => {
                    Ok(Some(defect(*key, &cause.to_string())))
                }
                _ => Err(error),
            },
        }
    }
}

fn defect(object: Key, problem: &str) -> Defect {
    Defect { object, problem: problem.to_owned() }
}

/// A plan for each snapshot with the segments before the next one, and whether it is the last.
fn parts(history: &History) -> impl Iterator<Item = (Plan, bool)> {
    history.snapshots.iter().enumerate().map(|(at, &snapshot)| {
        let next = history.snapshots.get(at + 1).map(|next| next.index);
        let within = |index| snapshot.index <= index && next.is_none_or(|next| index < next);
        let segments = history.segments.iter().filter(|segment| within(segment.pos.index));
        let segments: Vec<_> = segments.copied().collect();
        (
            Plan { generation: history.generation, snapshot, segments: segments.into() },
            next.is_none(),
        )
    })
}

/// Whether the defect is in what the plan restores, so that it would only be found again.
fn is_part(plan: &Plan, defect: &Defect) -> bool {
    let index = |key| match key {
        Key::Snapshot { index, .. } => index,
        Key::Segment { pos, .. } => pos.index,
    };
    (plan.snapshot.index..=index(plan.last_key())).contains(&index(defect.object))
}

/// Whether the store failed, rather than the object.
fn is_failure(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    let store = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    store.and_then(|store| store.downcast_ref::<StoreError>()).is_some_and(|error| {
        // Another look will show whether the object is gone.
        !matches!(error, StoreError::NotFound { .. })
    })
}

/// Has SQLite check the database, and removes the file in any case.
async fn ask_sqlite(database: PathBuf) -> anyhow::Result<anyhow::Result<Vec<String>>> {
    let task = tokio::task::spawn_blocking(move || {
        let checked = integrity_check(&database);
        fs::remove_file(&database).map(|()| checked)
    });
    task.await?.context("cannot remove the temporary database")
}
