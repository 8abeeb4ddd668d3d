use std::time::Instant;

use tracing::info;

use super::sameness::Sameness;
use super::{Slot, Standing, Tail};
use crate::format::{Content, Kind, Seal, WalIndex};
use crate::replicate::capture::Capture;
use crate::replicate::cursor::{Cursor, Place};
use crate::replicate::durable::Durability;
use crate::replicate::image::Image;
use crate::replicate::marks::Marks;
use crate::replicate::message::Grant;
use crate::replicate::pages::PageTable;
use crate::replicate::sent::Sent;
use crate::replicate::staging::Staging;
use crate::replicate::tip::Tip;
use crate::wal::{Checksum, PageSize, Salt, WalHeader};

impl Tail {
    /// Goes on where a replica ends, if the database file equals, page by page, the database that
    /// the replica's newest object leads to. Returns whether it does.
    ///
    /// That is so after a restore, or when the state beside the database was lost. What was written
    /// since must all be in the log. Our read transaction keeps the log: it is not restarted before
    /// we have read it.
    pub(super) fn adopt(&mut self) -> anyhow::Result<bool> {
        let mut tips = Vec::new();
        for slot in &self.slots {
            let Some(tip) = slot.request.and_then(|request| request.tip()) else { continue };
            // If more was acknowledged than the replica shows, the names that would be used next
            // may be taken.
            if !tips.contains(&tip)
                && !slot.staging.sent()?.is_some_and(|sent| is_ahead(&sent, &tip))
            {
                tips.push(tip);
            }
        }
        for tip in tips {
            if let Some(seal) = tip.seal.filter(|seal| is_whole(seal) && has_room(seal))
                && self.adopt_tip(&tip, &seal)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn adopt_tip(&mut self, tip: &Tip, seal: &Seal) -> anyhow::Result<bool> {
        let Some(database) = &self.database else { return Ok(false) };
        let (file, identity) = (database.file().clone(), database.identity()?);
        let Some(page_size) = PageSize::new(seal.page_size) else { return Ok(false) };
        let bytes = u64::from(seal.pages) * u64::from(seal.page_size);
        if database.page_size() != page_size || file.metadata()?.len() != bytes {
            return Ok(false);
        }
        let image = Image::of_file(file, page_size, seal.pages).until(&self.lines.cancellation);
        let generation = seal.generation;
        let path = self.state.pages();
        let mut table = PageTable::build(&path, generation, page_size, seal.pages, image.reader())?;
        if table.digest() != seal.digest {
            return Ok(false);
        }
        let log_end = match database.log()? {
            Some(log) => {
                let view = database.view(&log, WalHeader::SIZE as u64, log.header.checksum)?;
                if view.pages.is_some() && !log.leads_to(view.end, view.checksum)? {
                    // Such a log could not be captured.
                    return Ok(false);
                }
                view.pages.map(|_| (log.header.salt, view.end))
            }
            None => None,
        };
        let mut first = vec![0; page_size.bytes()];
        image.read_pages(1, &mut first)?;
        if !table.holds(1, &first)? {
            // Another process has gone on with a checkpoint meanwhile.
            return Ok(false);
        }
        let staging: Vec<Staging> = self
            .slots
            .iter()
            .filter(|slot| is_at(slot, tip))
            .map(|slot| slot.staging.clone())
            .collect();
        for staging in &staging {
            staging.discard(generation)?;
            // Before the generation counts as ours: anything found there beyond this is not ours.
            staging.note_sent(Sent::of(seal), Durability::Power)?;
        }
        self.ancestry.lineage.add(generation)?;
        let mut capture =
            Capture::begin(cursor_at(seal, &first, page_size), table, identity, log_end)
                .until(&self.lines.cancellation);
        capture.fence(&self.state, &staging, &first)?;
        self.capture = Some(capture);
        self.ancestry.sameness = Sameness::Given;
        self.schedule.changed = true;
        self.schedule.checkpoints.fresh = log_end.is_some();
        info!(
            db = %self.path().display(), %generation, position = %seal.end,
            "the database is what its replica holds: the generation goes on"
        );
        let mut joined = Vec::new();
        for slot in self.slots.iter_mut().filter(|slot| is_at(slot, tip)) {
            slot.standing = Standing::Inside;
            slot.request = None;
            joined.push(slot.grants.clone());
        }
        // The other replicas need a snapshot, which can only be taken at the end of a WAL.
        self.schedule.snapshots.next = Instant::now();
        self.publish();
        for grants in joined {
            // If this fails, the replica has ended, and so will we.
            let _ = grants.send(Grant::Continuation);
        }
        Ok(true)
    }
}

/// Whether this replica waits for a snapshot, and ends exactly at `tip`.
fn is_at(slot: &Slot, tip: &Tip) -> bool {
    slot.request.and_then(|request| request.tip()) == Some(*tip)
}

/// Whether more was acknowledged than the replica shows: its newest objects are gone, or not listed
/// yet.
fn is_ahead(sent: &Sent, tip: &Tip) -> bool {
    tip.seal.is_some_and(|seal| seal.generation == sent.generation && seal.end < sent.end)
}

/// Whether the object needs no further segment: a snapshot from the middle of a WAL needs one that
/// is not there.
fn is_whole(seal: &Seal) -> bool {
    seal.kind() == Kind::Segment || seal.end == seal.start
}

/// Whether there are two more indexes: adoption takes names in two logs, and goes on in a third
/// one.
fn has_room(seal: &Seal) -> bool {
    seal.end.index.next().and_then(WalIndex::next).is_some()
}

/// The cursor at the end of the object that has this seal, where the first page is `first`.
fn cursor_at(seal: &Seal, first: &[u8], page_size: PageSize) -> Cursor {
    let (checksum, place) = match seal.content {
        Content::Snapshot { .. } => (Checksum::default(), Place::Start),
        // No such log exists: the frames that follow are made by us.
        Content::Segment { checksum } => {
            let checksum = Checksum::from_bytes(checksum);
            let (salt, offset) = (Salt(seal.salt), seal.end.offset);
            (checksum, Place::Within { salt, offset, checksum })
        }
    };
    Cursor {
        generation: seal.generation,
        pos: seal.end,
        checksum,
        place,
        page_size,
        pages: seal.pages,
        digest: seal.digest,
        marks: Marks::of(first),
        link: seal.link(),
        committed: seal.committed,
    }
}
