#[cfg(test)]
mod simulation;

use std::error::Error;
use std::fmt::Display;

use super::stray::Unlinked;
use crate::format::{Content, Generation, Kind, Link, Seal, WalIndex, WalPos};
use crate::wal::{Checksum, PageSize, Salt};

/// What the seals of the objects prove together: that each object is the one that belongs there.
///
/// Objects without a seal, as Litestream writes them, are accepted: only the WAL's own salts and
/// checksums can be checked for them.
#[derive(Debug)]
pub(super) struct Chain {
    generation: Generation,
    snapshot: Option<Seal>,
    /// The link of the last segment, if it had a seal.
    link: Option<Link>,
    /// The seal of the last object, if it had one.
    last: Option<Seal>,
}

/// The state that a segment has brought the database to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) end: WalPos,
    pub(super) salt: Salt,
    pub(super) checksum: Checksum,
    pub(super) page_size: PageSize,
    pub(super) pages: u64,
}

impl Chain {
    pub(super) fn new(generation: Generation) -> Self {
        Self { generation, snapshot: None, link: None, last: None }
    }

    /// The seal of the last object, if it had one.
    pub(super) fn last(&self) -> Option<&Seal> {
        self.last.as_ref()
    }

    /// Whether the snapshot has a seal: then we wrote all of the generation.
    pub(super) fn begins_sealed(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The position up to which the log with that salt must be applied to make the snapshot
    /// consistent. `None` if the snapshot was copied at the end of another log, all of which is in
    /// it.
    pub(super) fn whole_from(&self, salt: Salt) -> Option<WalPos> {
        self.snapshot.as_ref().filter(|seal| seal.salt == salt.0).map(|seal| seal.end)
    }

    pub(super) fn snapshot(
        &mut self,
        index: WalIndex,
        seal: Option<Seal>,
        bytes: u64,
    ) -> Result<(), String> {
        if let Some(seal) = &seal {
            self.check_name(seal, Kind::Snapshot, WalPos::start_of(index))?;
            check("index of its end", seal.end.index, index)?;
            check("size", u64::from(seal.pages) * u64::from(seal.page_size), bytes)?;
        }
        (self.snapshot, self.last) = (seal, seal);
        Ok(())
    }

    /// Checks a segment. Returns whether its seal proves that nothing is missing before it.
    pub(super) fn segment(
        &mut self,
        start: WalPos,
        seal: Option<Seal>,
        reached: &Reached,
    ) -> Result<bool, Box<dyn Error + Send + Sync>> {
        let mut linked = false;
        if let Some(seal) = &seal {
            self.check_name(seal, Kind::Segment, start)?;
            check("end", seal.end, reached.end)?;
            check("page size", seal.page_size, reached.page_size.get())?;
            check("number of pages", u64::from(seal.pages), reached.pages)?;
            check("salt", Salt(seal.salt), reached.salt)?;
            if let Content::Segment { checksum } = seal.content {
                check("checksum", Checksum::from_bytes(checksum), reached.checksum)?;
            }
            linked = self.check_previous(seal)?;
        }
        if self.whole_from(reached.salt) == Some(reached.end)
            && let (Some(snapshot), Some(seal)) = (&self.snapshot, &seal)
        {
            check("digest at the snapshot", seal.digest, snapshot.digest)?;
        }
        self.link = seal.map(|seal| seal.link());
        self.last = seal;
        Ok(linked)
    }

    fn check_name(&self, seal: &Seal, kind: Kind, start: WalPos) -> Result<(), String> {
        check("kind", seal.kind(), kind)?;
        check("generation", seal.generation, self.generation)?;
        check("start", seal.start, start)
    }

    /// Compares the link with that of the segment applied before, and with the one in the
    /// snapshot.
    fn check_previous(&self, seal: &Seal) -> Result<bool, Unlinked> {
        let snapshot = self.snapshot.filter(|snapshot| snapshot.start == seal.start);
        let snapshot = snapshot.map(|snapshot| snapshot.previous);
        let expected = [snapshot, self.link].into_iter().flatten();
        if expected.clone().any(|link| link != seal.previous) {
            return Err(Unlinked::new(seal, self.last.as_ref()));
        }
        Ok(expected.count() > 0)
    }
}

/// Compares a property of an object with what its seal says.
pub fn check<T: Copy + PartialEq + Display>(what: &str, sealed: T, found: T) -> Result<(), String> {
    if sealed == found {
        return Ok(());
    }
    Err(format!("its {what} is {found}, but was sealed as {sealed}"))
}
