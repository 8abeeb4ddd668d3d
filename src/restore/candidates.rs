//! The histories of all replicas, one of which is restored from.

use std::ptr;

use anyhow::anyhow;
use tracing::warn;

use super::assemble::Failure;
use super::plan::{Plan, Ranking, plans, rank};
use super::replica::Replica;
use super::stray::Stray;
use super::{PlanError, Reporting, RestoreError, RestoreOptions, Restored, Target, restore_plan};
use crate::format::{History, WalIndex};
use crate::store::ObjectStore;

/// All there is to choose from.
pub(super) struct Candidates<'a, S> {
    /// The histories. A [`Ranking`] refers to them by their numbers here.
    histories: Vec<History>,
    /// The replica of each history.
    replicas: Vec<&'a Replica<S>>,
}

/// A history, and the replica that it is in.
struct Candidate<'a, S> {
    number: usize,
    replica: &'a Replica<S>,
    history: &'a History,
}

/// What an attempt to restore came to.
pub(super) enum Attempt {
    Restored(Restored),
    /// The restore must begin again, without these segments of the history with that number.
    Without(usize, Vec<Stray>),
}

impl<'a, S> Candidates<'a, S> {
    pub(super) fn of(replicas: &'a [Replica<S>]) -> Self {
        let of_replica =
            |replica: &'a Replica<S>| replica.histories.iter().map(move |of| (of.clone(), replica));
        let (histories, replicas) = replicas.iter().flat_map(of_replica).unzip();
        Self { histories, replicas }
    }

    pub(super) fn rank(&self, options: &RestoreOptions) -> Result<Ranking, PlanError> {
        rank(&self.histories, options.target, options.generation)
    }

    /// Leaves out strays of a history. It may not be the best one afterwards.
    pub(super) fn leave_out(&mut self, number: usize, strays: &[Stray]) {
        for stray in strays {
            let replica = &self.replicas[number].name;
            warn!(replica, object = %stray.key(), "left out: {stray}");
        }
        self.histories[number].retain(|key| strays.iter().all(|stray| stray.key() != key));
    }

    fn get(&self, number: usize) -> Candidate<'_, S> {
        let (replica, history) = (self.replicas[number], &self.histories[number]);
        Candidate { number, replica, history }
    }

    fn ranked(&self, numbers: &[usize]) -> impl Iterator<Item = Candidate<'_, S>> {
        numbers.iter().map(|number| self.get(*number))
    }
}

impl<S: ObjectStore + 'static> Candidates<'_, S> {
    /// Leaves out what was committed after the requested moment.
    pub(super) async fn leave_out_later(&mut self, target: Target) {
        let Target::Timestamp(time) = target else { return };
        for (history, replica) in self.histories.iter_mut().zip(&self.replicas) {
            let later = replica.later_than(history, time).await;
            history.retain(|key| !later.contains(&key));
        }
    }

    /// Restores from the best candidate that works. If something in a replica is missing or
    /// damaged, its other histories are not used: that would silently give an older state.
    pub(super) async fn restore(
        &self,
        ranking: &Ranking,
        options: &RestoreOptions,
        reporting: Reporting,
    ) -> Result<Attempt, RestoreError> {
        let mut failures = Failures(Vec::new());
        for candidate in self.ranked(&ranking.passed_over) {
            let mut usable = self.ranked(&ranking.usable);
            let older = usable.find(|of| ptr::eq(of.replica, candidate.replica));
            if let Err(error) = candidate.pass_over(older.map(|older| older.history)).await {
                failures.add(candidate.replica, error);
            }
        }
        for candidate in self.ranked(&ranking.usable) {
            if failures.are_of(candidate.replica) {
                continue;
            }
            failures.mention(candidate.replica);
            match candidate.restore(options, reporting).await {
                Ok(attempt) => return Ok(attempt),
                Err(Failure::Here(error)) => return Err(error),
                Err(Failure::Snapshot(error) | Failure::Replica(error)) => {
                    failures.add(candidate.replica, error);
                }
            }
        }
        Err(failures.into_first().into())
    }
}

/// The replicas that cannot be restored from, and why, in the order of discovery.
struct Failures<'a, S>(Vec<(&'a Replica<S>, anyhow::Error)>);

impl<'a, S> Failures<'a, S> {
    fn add(&mut self, replica: &'a Replica<S>, error: anyhow::Error) {
        self.0.push((replica, error.context(format!("replica {}", replica.name))));
    }

    fn are_of(&self, replica: &Replica<S>) -> bool {
        self.0.iter().any(|(failed, _)| ptr::eq(*failed, replica))
    }

    /// Warns about the last failure, if any, before another replica is used.
    fn mention(&self, replica: &Replica<S>) {
        if let Some((_, error)) = self.0.last() {
            let (error, replica) = (format!("{error:#}"), &replica.name);
            warn!(error, replica, "FALLING BACK to another replica, which may be older");
        }
    }

    /// What was wrong with the best candidate.
    fn into_first(self) -> anyhow::Error {
        let first = self.0.into_iter().next();
        first.map_or_else(|| anyhow!("no usable generation"), |(_, error)| error)
    }
}

impl<S: ObjectStore + 'static> Candidate<'_, S> {
    /// Passes over this candidate for an older one, unless it must have had a snapshot.
    async fn pass_over(&self, older: Option<&History>) -> anyhow::Result<()> {
        let generation = self.history.generation;
        if self.replica.has_lost_its_snapshot(self.history).await? {
            let older = older.map(|older| older.generation);
            return Err(PlanError::SnapshotLost { generation, older }.into());
        }
        let replica = &self.replica.name;
        warn!(replica, %generation, "the newest generation has no snapshot, taking an older one");
        Ok(())
    }

    /// Restores from this candidate, unless there are strays where the restore ends or fails.
    async fn restore(
        &self,
        options: &RestoreOptions,
        reporting: Reporting,
    ) -> Result<Attempt, Failure> {
        let plans =
            plans(self.history, options.target).map_err(|error| Failure::Replica(error.into()))?;
        // Nothing that a restore reads would show these strays.
        for begin in plans.first().into_iter().flat_map(|plan| plan.ends_beside(self.history)) {
            if let Some(attempt) = self.without_strays(begin, options).await {
                return Ok(attempt);
            }
        }
        let failure = match self.restore_any(plans, options, reporting).await {
            Ok(restored) => return Ok(Attempt::Restored(restored)),
            Err(failure) => failure,
        };
        if let Some(begin) = failure.begun_log()
            && let Some(attempt) = self.without_strays(begin, options).await
        {
            return Ok(attempt);
        }
        Err(failure)
    }

    /// Looks for strays around the beginning of a log.
    async fn without_strays(&self, begin: WalIndex, options: &RestoreOptions) -> Option<Attempt> {
        let strays = self.replica.strays(self.history, begin, options.parallelism).await;
        (!strays.is_empty()).then_some(Attempt::Without(self.number, strays))
    }

    /// Restores with the first snapshot that is usable.
    async fn restore_any(
        &self,
        plans: Vec<Plan>,
        options: &RestoreOptions,
        reporting: Reporting,
    ) -> Result<Restored, Failure> {
        let replica = self.replica;
        let plans = replica.prefer_sure(plans).await;
        let plans = plans.map_err(|error| Failure::Replica(error.into()))?;
        let mut first = None;
        for (plan, wholeness) in plans {
            match restore_plan(replica, plan, wholeness, options, reporting).await {
                Err(Failure::Snapshot(error)) => {
                    warn!(error = format!("{error:#}"), "snapshot is unusable");
                    first.get_or_insert(error);
                }
                outcome => return outcome,
            }
        }
        Err(Failure::Snapshot(first.unwrap_or_else(|| anyhow!("no snapshot"))))
    }
}
