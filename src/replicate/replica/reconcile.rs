#[cfg(test)]
mod simulation;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;

use super::Connected;
use super::before::Before;
use super::company::successor;
use crate::catalog::{self, Found};
use crate::format::{Generation, History, Key, Kind, Link, Seal, Segment, Snapshot};
use crate::replicate::staging::Staged;
use crate::replicate::tip::Tip;
use crate::store::{ObjectStore, StoreError};

/// The pauses before a seal that cannot be made out is read again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// What a replica has of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// Everything up to the segment of this link; the next one is staged, or is yet to be cut.
    Holds(Link),
    /// No snapshot, so nothing that could be restored; or nothing is left to be sent to it.
    Lacks,
    /// Something other than what was sent to it, and why we think so.
    Diverged(String),
}

/// Judges a replica by the newest object that it has, and by the link that it should have.
///
/// The link of a segment stands for all segments before it, so equal links prove that the replica
/// holds exactly what was sent.
pub(super) fn holding(newest: &Found, next: &Found, link: Option<Link>) -> Holding {
    let newest = match newest {
        Ok(Some(seal)) => seal,
        Ok(None) => {
            return diverged(
                "its newest object has no seal of ours: it is damaged, or not written by us",
            );
        }
        Err(reason) => {
            return diverged(&format!("its newest object cannot be relied on: {reason}"));
        }
    };
    let expected = match next {
        // This very segment was stored, but not yet removed from the staging directory.
        Ok(Some(next)) if next == newest => return Holding::Holds(next.previous),
        Ok(Some(next)) => Some(next.previous),
        Ok(None) => link,
        Err(reason) => return diverged(reason),
    };
    match expected {
        Some(expected) if expected == newest.link() => Holding::Holds(newest.link()),
        Some(_) => diverged("it was written by another daemon, or holds more than this database"),
        None => Holding::Lacks,
    }
}

fn diverged(reason: &str) -> Holding {
    Holding::Diverged(reason.to_owned())
}

impl Connected {
    /// Looks up what the replica has of a generation. `link` is the link of the newest segment that
    /// was cut.
    pub(super) async fn holding(
        &mut self,
        generation: Generation,
        link: Option<Link>,
    ) -> anyhow::Result<Holding> {
        let what = "looking up what the replica has";
        let newest = self.insist(what, |it| it.newest_seal(generation).boxed()).await;
        let Some((newest, snapshot)) = newest else { return Ok(Holding::Lacks) };
        self.company.snapshot = Some(Key::Snapshot { generation, index: snapshot.index });
        self.maintenance.snapshot_found(&newest, snapshot.created, SystemTime::now());
        let staged = self.replica.staging.segments(generation)?;
        let next = match staged.first() {
            Some(staged) => staged_seal(&staged.path)?,
            None => Ok(None),
        };
        Ok(holding(&newest, &next, link))
    }

    /// The seal of the newest segment in the replica, or of the snapshot if there is none, and the
    /// newest snapshot. `None` without a snapshot.
    pub(super) async fn newest_seal(
        &self,
        generation: Generation,
    ) -> Result<Option<(Found, Snapshot)>, StoreError> {
        let history = catalog::history(&self.store, generation).await?;
        let (Some(&snapshot), Some((key, size))) = (history.snapshots.last(), history.newest())
        else {
            return Ok(None);
        };
        Ok(Some((self.seal(key, size).await?, snapshot)))
    }

    /// The newest object in the replica, which shows whose the replica is.
    pub(super) async fn newest_object(&mut self) -> Result<Option<Tip>, StoreError> {
        let histories = catalog::histories(&self.store, 1).await?;
        // A daemon that has taken the replica over comes first, though we may have written to it
        // since.
        let ours = self.lineage()?;
        let successor = successor(&histories, ours.generations());
        let latest = successor.or(History::latest(&histories));
        let tip = match latest.and_then(|latest| Some((latest, latest.newest()?))) {
            Some((latest, (key, size))) => {
                let seal = self.seal(key, size).await?.ok().flatten();
                // Nothing may continue these.
                let seal = match &seal {
                    Some(tip) if self.company.is_before_snapshot(tip) => None,
                    Some(tip) if self.is_beside_another(latest, tip).await? => None,
                    _ => seal,
                };
                Some(Tip { key, seal })
            }
            None => None,
        };
        self.before = Some(Before::new(&histories, tip));
        Ok(tip)
    }

    /// Whether the newest segment begins a log, and follows something other than the end of the log
    /// before.
    ///
    /// Then it may be a segment that another daemon, or we ourselves, died before taking back.
    /// Continuing it would make it count.
    async fn is_beside_another(&self, of: &History, newest: &Seal) -> Result<bool, StoreError> {
        let Seal { start, previous, generation, .. } = *newest;
        if start.offset > 0 || newest.kind() == Kind::Snapshot {
            return Ok(false);
        }
        let snapshot = of.snapshots.iter().find(|snapshot| snapshot.index == start.index);
        let last = of.segments.iter().rfind(|segment| segment.pos < start);
        let last = last.filter(|last| last.pos.index.next() == Some(start.index));
        let follows = match (snapshot, last) {
            // What is before the snapshot may be left out. The snapshot itself follows the same
            // segment.
            (Some(&Snapshot { index, size, .. }), _) => {
                let seal = self.seal(Key::Snapshot { generation, index }, size).await?;
                seal.ok().flatten().map(|seal| seal.previous)
            }
            (None, Some(&Segment { pos, size, .. })) => {
                let seal = self.seal(Key::Segment { generation, pos }, size).await?;
                seal.ok().flatten().map(|seal| seal.link())
            }
            (None, None) => None,
        };
        Ok(follows.is_some_and(|follows| follows != previous))
    }

    /// The seal of a stored object of `size` bytes. One that cannot be made out is read again:
    /// something in front of the store may have answered in its place.
    pub(super) async fn seal(&self, key: Key, size: u64) -> Result<Found, StoreError> {
        let mut found = self.read_seal(key, size).await?;
        for pause in PAUSES {
            if matches!(found, Ok(Some(_))) {
                break;
            }
            tokio::time::sleep(pause).await;
            found = self.read_seal(key, size).await?;
        }
        Ok(found)
    }

    async fn read_seal(&self, key: Key, size: u64) -> Result<Found, StoreError> {
        match catalog::seal(&self.store, key, size).await {
            // Without another daemon a refusal is a mistake, which somebody will mend.
            Err(StoreError::Rejected(_)) if self.company.met => {
                Ok(Err("another daemon writes to it, and it may not be read"))
            }
            found => found,
        }
    }

    /// The seal of the object that is stored under the name `key`, whatever its size.
    pub(super) async fn seal_in_place(&self, key: Key) -> Result<Found, StoreError> {
        let objects = self.store.list(&key.to_string()).await?;
        match objects.first() {
            Some(object) => self.seal(key, object.size).await,
            None => Err(StoreError::NotFound { key: key.to_string() }),
        }
    }
}

/// The seal of a staged segment.
pub(super) fn staged_seal(path: &Path) -> io::Result<Found> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(Seal::SIZE as u64)))?;
    let mut tail = Vec::with_capacity(Seal::SIZE);
    file.read_to_end(&mut tail)?;
    Ok(Seal::at_end(&tail))
}

/// Returns the seal of a staged segment if it follows the segment of `link`, or why it does not.
pub(super) fn follows(staged: &Staged, link: Link) -> io::Result<Result<Seal, String>> {
    Ok(match staged_seal(&staged.path)? {
        Ok(Some(seal)) if seal.previous == link && seal.start == staged.pos => Ok(seal),
        Ok(Some(_)) => Err(format!("a staged segment before {} is missing", staged.pos)),
        Ok(None) => Err(format!("the staged segment {} is not whole", staged.pos)),
        Err(reason) => Err(format!("the staged segment {}: {reason}", staged.pos)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::WalPos;

    fn seal(end: &str, previous: Link) -> Seal {
        Seal { start: WalPos::default(), end: end.parse().unwrap(), previous, ..Seal::example() }
    }

    #[test]
    fn goes_on_only_behind_the_link_that_was_sent() {
        let first = seal("00000000_00001038", Link(0));
        let second = seal("00000000_00002070", first.link());
        let (first, second) = (&Ok(Some(first)), &Ok(Some(second)));
        let link = |found: &Found| found.unwrap().unwrap().link();
        let none = &Ok(None);

        assert_eq!(holding(first, second, None), Holding::Holds(link(first)), "next is staged");
        assert_eq!(
            holding(second, second, None),
            Holding::Holds(link(first)),
            "sent, not taken out"
        );
        assert_eq!(holding(second, none, Some(link(second))), Holding::Holds(link(second)));
        assert!(matches!(holding(second, none, Some(link(first))), Holding::Diverged(_)), "ahead");
        assert!(matches!(holding(first, none, Some(link(second))), Holding::Diverged(_)), "behind");
        assert!(matches!(holding(none, none, Some(Link(0))), Holding::Diverged(_)), "foreign");
        assert!(matches!(holding(&Err("altered"), none, None), Holding::Diverged(_)));
        assert_eq!(holding(first, none, None), Holding::Lacks, "nothing is left to be sent");
    }
}
