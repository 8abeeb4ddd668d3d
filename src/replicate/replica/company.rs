//! Other daemons that write to the replica, and how soon they are noticed.
//!
//! Two daemons may continue the same state: one of them with a copy of it, or after a long stop.
//! The names of segments show that. The next segment either continues the WAL or begins the next
//! one, and each daemon takes, or checks, both names:
//!
//! * A daemon that did not write the generation itself takes both at once (`Capture::fence`).
//! * A daemon that compared its database with the replica takes the first name before the second.
//! * Any other daemon stores its segment, and then looks for the other name before it reports that.
//!   If both have stored one, at least one of the two sees the other's. It takes its own back, and
//!   goes on in a fork, which begins with all of its database.
//!
//! What is left open:
//!
//! * A daemon that dies before it has taken its segment back leaves it there, and so does one that
//!   never learned that it was stored. Once the other daemon has gone on, restores leave that
//!   segment out (`restore::strays`), and `verify` names it. Until then both fail, and name the two
//!   segments.
//! * A daemon that begins a new generation takes no name of the old one. It looks whether the old
//!   one went on meanwhile, and takes its snapshot back if so. A daemon that writes to the old one
//!   looks for a new one every [`ALONE`], and before it ends. If it is killed in between, what it
//!   has sent is in the old generation, and not in what is restored by default.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Connected;
use super::before::begun;
use crate::catalog;
use crate::format::{Generation, History, Key, Seal, WalPos};
use crate::replicate::lineage::Lineage;
use crate::replicate::message::Report;
use crate::replicate::sent::Sent;
use crate::replicate::staging::Staged;
use crate::store::{ObjectStore, StoreError};

/// How long to go without looking whether another daemon has begun a generation.
const ALONE: Duration = Duration::from_secs(15);

/// How long the last look before the end may take, and a deletion that was begun before.
pub(super) const SETTLE_MAX: Duration = Duration::from_secs(2);

/// What we know of other daemons that write to the replica.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// When the replica was last found to hold no successor of ours.
    looked: Option<Instant>,
    /// Generations that are no successors: they were there before ours.
    others: HashSet<Generation>,
    /// Another daemon was found to continue what we wrote.
    pub(super) met: bool,
    /// The newest snapshot that is known to have been there. Retention never deletes it.
    pub(super) snapshot: Option<Key>,
    /// The last segment that we tried to send. It may be stored, though the store did not confirm
    /// it.
    pub(super) on_its_way: Option<Sent>,
    /// A snapshot that we tried to store. It may be stored, or may still be, though the store did
    /// not confirm it.
    pub(super) snapshot_on_its_way: Option<Key>,
    /// The last segment that this process has created.
    pub(super) created: Option<(Generation, WalPos)>,
}

/// What is stored under the name that a daemon uses next if it continues the same state as a
/// segment of ours does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// Nothing, or an object that is ours as well.
    Nobody,
    /// A segment that follows the same one as ours.
    Rival,
    /// Something else, or an object that may not be read. A daemon may have continued ours
    /// meanwhile.
    Stranger,
}

impl Company {
    /// Makes the next check look again, however recent the last look is.
    pub(super) fn look_again(&mut self) {
        self.looked = None;
    }

    /// Whether a snapshot of ours may yet be stored after the object `newest`.
    ///
    /// It knows nothing of segments that continue the object in the same log: with those it could
    /// not be restored.
    pub(super) fn is_before_snapshot(&self, newest: &Seal) -> bool {
        let is_behind =
            |key: Key| key.generation() == newest.generation && newest.start < key.start();
        self.snapshot_on_its_way.is_some_and(is_behind)
    }
}

/// The name that a daemon uses next if it continues the same state as we do, but in the other log.
///
/// We have stored the segment at `pos`, after one that ends at `end`, if that is known.
fn rival(pos: WalPos, end: Option<WalPos>) -> Option<WalPos> {
    if pos.offset > 0 {
        return pos.index.next().map(WalPos::start_of);
    }
    end.filter(|end| end.offset > 0 && end.index.next() == Some(pos.index))
}

/// The generation that another daemon began after ours, with a database that continues ours: from
/// then on the replica belongs to that daemon. Decided on listings alone.
///
/// A daemon that wakes up late, or does not know of the other, would otherwise go on beside it for
/// ever, and restores would alternate between the two.
pub(super) fn successor<'a>(histories: &'a [History], ours: &[Generation]) -> Option<&'a History> {
    let begun = |history: &History| history.snapshots.first().map(|snapshot| snapshot.created);
    let (ours, others): (Vec<&History>, Vec<&History>) =
        histories.iter().partition(|history| ours.contains(&history.generation));
    let since = ours.into_iter().filter_map(begun).max()?;
    let later = others.into_iter().filter(|history| begun(history) > Some(since));
    later.max_by_key(|history| begun(history))
}

impl Connected {
    /// Whether we may send a segment to a generation. If not, reports to the tail that it has to go
    /// elsewhere.
    ///
    /// Looks at the replica from time to time while there is something to send, and always after a
    /// pause in which much may have happened.
    pub(super) async fn is_alone(&mut self, generation: Generation) -> bool {
        let look = self.insist("looking at the replica", |it| it.check_alone(generation).boxed());
        let Some(reason) = look.await else { return true };
        self.diverged(generation, reason).await;
        false
    }

    /// Returns why nothing more may be sent to a generation, or `None` if something may.
    pub(super) async fn check_alone(
        &mut self,
        generation: Generation,
    ) -> Result<Option<String>, StoreError> {
        if self.company.looked.is_some_and(|looked| looked.elapsed() < ALONE) {
            return Ok(None);
        }
        let ours = self.lineage()?;
        let unknown = |other: &Generation| {
            !ours.generations().contains(other) && !self.company.others.contains(other)
        };
        let names = catalog::generations(&self.store).await?;
        let unknown: Vec<Generation> = names.into_iter().filter(unknown).collect();
        let mut histories = Vec::new();
        if !unknown.is_empty() {
            histories.push(catalog::history(&self.store, generation).await?);
            for &other in &unknown {
                histories.push(catalog::history(&self.store, other).await?);
            }
            if let Some(other) = successor(&histories, ours.generations())
                && self.is_sealed(other).await?
            {
                let other = other.generation;
                return Ok(Some(format!("another daemon has taken it over, with {other}")));
            }
        }
        if let Some(snapshot) = self.lost_snapshot(generation).await? {
            return Ok(Some(format!(
                "{snapshot} is gone, without which nothing can be restored: it was deleted, or \
                 another daemon has taken the replica over and let it expire"
            )));
        }
        // A generation without a snapshot may still begin.
        self.company.others.extend(begun(&histories));
        self.company.looked = Some(Instant::now());
        Ok(None)
    }

    /// The newest snapshot of a generation, if it was there and is not any more. It is requested by
    /// its name: a listing may be stale, and then lacks what was stored just before.
    ///
    /// Without it segments are still acknowledged, but are in no restore. Listings alone do not
    /// show that it was deleted: they only show a successor, which is younger.
    async fn lost_snapshot(&self, generation: Generation) -> Result<Option<Key>, StoreError> {
        let snapshot = self.company.snapshot.filter(|key| key.generation() == generation);
        let Some(snapshot) = snapshot else { return Ok(None) };
        let is_there = self.exists(snapshot).await?;
        Ok((!is_there).then_some(snapshot))
    }

    /// Whether another daemon continues the same state as the segment that we have stored.
    ///
    /// If so, the segment is taken back if this process created it, and nothing can have continued
    /// it: it is not reported yet, and the other one is no [`Beside::Stranger`].
    pub(super) async fn has_rival(
        &mut self,
        staged: &Staged,
        seal: &Seal,
    ) -> Result<bool, StoreError> {
        let beside = match self.name_of_rival(seal).await? {
            Some(name) if self.exists(name).await? => self.look_beside(seal, name).await?,
            _ => Beside::Nobody,
        };
        if beside == Beside::Nobody {
            return Ok(false);
        }
        self.company.met = true;
        let created = self.company.created == Some((staged.generation, staged.pos));
        if created && beside == Beside::Rival {
            self.take_back(staged).await?;
        }
        Ok(true)
    }

    /// The name that another daemon uses next if it continues what `ours` follows, if there is one.
    async fn name_of_rival(&self, ours: &Seal) -> Result<Option<Key>, StoreError> {
        let generation = ours.generation;
        let before =
            self.sent()?.filter(|sent| (sent.generation, sent.link) == (generation, ours.previous));
        match rival(ours.start, before.map(|before| before.end)) {
            Some(pos) => Ok(Some(Key::Segment { generation, pos })),
            // Ours is in the last log of all, or is the first after the snapshot with which the
            // replica joined.
            None if ours.start.offset > 0 || before.is_some() => Ok(None),
            // The note of the segment before ours was lost.
            None => self.last_in_log_before(ours).await,
        }
    }

    /// Judges what is stored under the name of a rival.
    async fn look_beside(&self, ours: &Seal, name: Key) -> Result<Beside, StoreError> {
        let other = match self.seal_in_place(name).await {
            Ok(found) => found.ok().flatten(),
            // An object that may not be read counts as another daemon's. Ours is stored, and until
            // one of the two daemons goes elsewhere, nothing after the two can be restored.
            Err(StoreError::Rejected(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(match other {
            // It is what ours follows, or what an earlier process of ours has sent after it.
            Some(other) if other.link() == ours.previous || other.previous == ours.link() => {
                Beside::Nobody
            }
            Some(other) if other.previous == ours.previous => Beside::Rival,
            _ => Beside::Stranger,
        })
    }

    /// The last segment of the log before the one that `ours` begins.
    async fn last_in_log_before(&self, ours: &Seal) -> Result<Option<Key>, StoreError> {
        let generation = ours.generation;
        let Some(before) = ours.start.index.before() else { return Ok(None) };
        let segments = catalog::segments_of_log(&self.store, generation, before).await?;
        Ok(segments.last().map(|last| Key::Segment { generation, pos: last.pos }))
    }

    /// Removes a segment that nothing can have continued.
    async fn take_back(&self, staged: &Staged) -> Result<(), StoreError> {
        let key = staged.key().to_string();
        match self.store.delete(std::slice::from_ref(&key)).await {
            Err(error @ StoreError::Rejected(_)) => {
                // Where we may not delete, the fork is as good; the segment is only in the way of
                // restores.
                warn!(name = self.replica.options.name, key, "cannot take a segment back: {error}");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Whether there is an object of that name.
    async fn exists(&self, key: Key) -> Result<bool, StoreError> {
        let key = key.to_string();
        match self.store.get(&key, 0..1).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            // Without the permission to list, reading what is not there is forbidden, instead of
            // not found.
            Err(StoreError::Rejected(_)) => Ok(!self.store.list(&key).await?.is_empty()),
            Err(error) => Err(error),
        }
    }

    fn sent(&self) -> Result<Option<Sent>, StoreError> {
        self.replica.staging.sent().map_err(|error| StoreError::Unavailable(error.into()))
    }

    /// Takes back the snapshot with which the replica joins a generation, if another daemon has
    /// meanwhile begun one, or continued what was there.
    ///
    /// At least one of two daemons sees the other, and each is to have a history that no other
    /// writes into.
    pub(super) async fn yield_to_others(
        &self,
        generation: Generation,
        key: &str,
    ) -> Result<(), StoreError> {
        // Whoever forces the takeover knows of the other daemon, which will notice it.
        let before = self.before.as_ref().filter(|_| !self.replica.forced);
        let Some(before) = before else { return Ok(()) };
        let (histories, sent) = (catalog::histories(&self.store, 1).await?, self.sent()?);
        let Some(other) = before.touched(&histories, generation, sent) else { return Ok(()) };
        self.store.delete(&[key.to_owned()]).await?;
        Err(StoreError::Unavailable(anyhow::anyhow!(
            "another daemon writes to the generation {other} here at the same time"
        )))
    }

    /// Before the end, looks again whether what was sent since the last look is in its place, and
    /// reports it. A store that does not answer does not keep us from ending.
    pub(super) async fn settle(&mut self) {
        let Some((generation, link)) = self.tip else { return };
        if self.company.looked < self.last_sent {
            self.company.look_again();
            let look = self.check_alone(generation);
            if let Ok(Ok(Some(reason))) = timeout(SETTLE_MAX, look).await {
                return self.diverged(generation, reason).await;
            }
        }
        self.replica.report(Report::Settled(link));
    }

    /// The generations that are ours.
    pub(super) fn lineage(&self) -> Result<Lineage, StoreError> {
        Lineage::load(self.replica.lineage.clone())
            .map_err(|error| StoreError::Unavailable(error.into()))
    }

    /// Whether the newest object of a history has a seal. Litestream, whose objects have none,
    /// begins a generation on any occasion, with whatever database: that proves nothing.
    async fn is_sealed(&self, history: &History) -> Result<bool, StoreError> {
        let Some((key, size)) = history.newest() else { return Ok(false) };
        Ok(matches!(self.seal(key, size).await?, Ok(Some(_))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::WalIndex;
    use std::time::SystemTime;

    #[test]
    fn the_name_of_a_rival_is_in_the_other_log() {
        let rival = |pos: &str, end: &str| {
            let found = rival(pos.parse().unwrap(), Some(end.parse().unwrap()));
            found.map(|pos| pos.to_string())
        };
        let (end, next) = ("00000001_00001038", "00000002_00000000");
        assert_eq!(rival(next, end).as_deref(), Some(end), "its log goes on");
        assert_eq!(rival(end, end).as_deref(), Some(next), "it has begun the next one");
        let begin = "00000000_00000000";
        assert_eq!(rival(begin, begin), None, "of that there is one name only");
    }

    #[test]
    fn nobody_goes_on_before_a_snapshot_that_may_be_there() {
        let newest = Seal { start: "00000001_00001038".parse().unwrap(), ..Seal::example() };
        let behind = |index| {
            let key = Key::Snapshot {
                generation: newest.generation,
                index: WalIndex::new(index).unwrap(),
            };
            let company = Company { snapshot_on_its_way: Some(key), ..Company::default() };
            company.is_before_snapshot(&newest)
        };
        assert!(behind(2));
        assert!(!behind(1), "it is followed by that");
        assert!(!Company::default().is_before_snapshot(&newest));
    }

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
