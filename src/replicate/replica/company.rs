//! Others who write to the replica, and how soon they are noticed.
//!
//! A segment has one of two names: behind the last one, or at the beginning of the next WAL. Who
//! goes on with a generation of an earlier process takes the first name before the second one, and
//! both at once if it did not write the generation itself (see `Capture::fence`). So each of two
//! that go on from the same state finds out with its next segment. What is left open:
//!
//! * One that has been running all the time, and whose log is restarted just before another one
//!   begins with a copy of its state of that very moment: it takes the second name, and the other
//!   one the first. Then the other one goes on in a fork, and until the next snapshot the
//!   generation cannot be restored beyond the first name, because what is there does not lead to
//!   the second: the restore says so, and `verify` names the two.
//! * Who begins a new generation takes no name of the old one. Who writes to that looks for it
//!   every [`ALONE`], and before the first segment after such a pause. What it has sent until then
//!   is in the old generation, and not in what is restored by default; then it goes on in a fork,
//!   which begins with all of its database.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{Connected, Failures};
use crate::format::{Generation, History};
use crate::replicate::lineage::Lineage;
use crate::store::StoreError;

/// How long nobody needs to look whether another daemon has begun a generation.
const ALONE: Duration = Duration::from_secs(15);

/// Whoever else writes to the replica.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// When the replica was last found to have no successor of ours.
    looked: Option<Instant>,
    /// Generations that are no successors: they were there before ours.
    others: HashSet<Generation>,
}

/// The generation that another daemon began after ours, with a database that continues ours: from
/// then on the replica is its own. Decided on listings alone.
///
/// Who only wakes up after a long time, or does not know of the other, would otherwise go on beside
/// it for ever, and what is restored would be now the one and now the other.
pub(super) fn successor<'a>(histories: &'a [History], ours: &[Generation]) -> Option<&'a History> {
    let begun = |history: &History| history.snapshots.first().map(|snapshot| snapshot.created);
    let (ours, others): (Vec<&History>, Vec<&History>) =
        histories.iter().partition(|history| ours.contains(&history.generation));
    let since = ours.into_iter().filter_map(begun).max()?;
    let later = others.into_iter().filter(|history| begun(history) > Some(since));
    later.max_by_key(|history| begun(history))
}

impl Connected {
    /// Whether nobody has taken the replica over. Looks from time to time while there is something
    /// to send, and always after a pause in which much may have happened. Otherwise the tail is
    /// told that it has to go elsewhere.
    pub(super) async fn is_alone(&mut self, generation: Generation) -> bool {
        let mut failures = Failures::new("looking at the replica");
        loop {
            match self.check_alone(generation).await {
                Ok(()) => return true,
                Err(StoreError::Exists { key }) => {
                    let reason = format!("another daemon has taken it over, with {key}");
                    self.diverged(generation, reason).await;
                    return false;
                }
                Err(error) => {
                    failures.wait(&self.replica, &error).await;
                    self.decline_snapshots();
                }
            }
        }
    }

    /// Fails as [`StoreError::Exists`] if there is a successor.
    pub(super) async fn check_alone(&mut self, generation: Generation) -> Result<(), StoreError> {
        if self.company.looked.is_some_and(|looked| looked.elapsed() < ALONE) {
            return Ok(());
        }
        let ours = self.lineage()?;
        let unknown = |other: &Generation| {
            !ours.generations().contains(other) && !self.company.others.contains(other)
        };
        let names = self.generations().await?;
        let unknown: Vec<Generation> = names.into_iter().filter(unknown).collect();
        if !unknown.is_empty() {
            let mut histories = vec![self.history(generation).await?];
            for &other in &unknown {
                histories.push(self.history(other).await?);
            }
            if let Some(other) = successor(&histories, ours.generations())
                && self.is_sealed(other).await?
            {
                return Err(StoreError::Exists { key: other.generation.to_string() });
            }
            // One without a snapshot may still begin.
            let begun = histories.iter().filter(|history| !history.snapshots.is_empty());
            self.company.others.extend(begun.map(|history| history.generation));
        }
        self.company.looked = Some(Instant::now());
        Ok(())
    }

    /// The generations that are ours.
    pub(super) fn lineage(&self) -> Result<Lineage, StoreError> {
        Lineage::load(self.replica.lineage.clone())
            .map_err(|error| StoreError::Unavailable(error.into()))
    }

    /// Litestream begins a generation on any occasion, with whatever database: that proves nothing.
    async fn is_sealed(&self, history: &History) -> Result<bool, StoreError> {
        let Some((key, size)) = history.newest() else { return Ok(false) };
        Ok(matches!(self.seal(key, size).await?, Ok(Some(_))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Key, WalIndex};
    use std::time::SystemTime;

    #[test]
    fn a_successor_began_after_ours_and_is_none_of_ours() {
        let [first, second, third] = [1, 2, 3].map(Generation::from_bits);
        let begun = |generation, seconds| {
            let key = Key::Snapshot { generation, index: WalIndex::default() };
            let created = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            History::new(generation, [(key, 1, created)])
        };
        let histories = [begun(first, 10), begun(second, 20), History::new(third, [])];
        assert_eq!(successor(&histories, &[first]), Some(&histories[1]));
        assert_eq!(successor(&histories, &[first, second]), None);
        assert_eq!(successor(&histories, &[second]), None, "it was there before");
        assert_eq!(successor(&histories[1..], &[third]), None, "ours has not begun");
        let later = [begun(first, 10), begun(second, 20), begun(third, 30)];
        assert_eq!(successor(&later, &[first, third]), None, "ours came after it");
        assert_eq!(successor(&later, &[first]), Some(&later[2]), "the last one");
    }
}
