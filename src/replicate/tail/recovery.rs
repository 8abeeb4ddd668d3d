use std::time::Duration;

use anyhow::bail;
use tracing::{error, info, warn};

use super::checkpoints::{LOG_BYTES_KEPT, is_outpaced};
use super::comparison::Comparison;
use super::sameness::Sameness;
use super::{Standing, Tail};
use crate::replicate::capture::Capture;
use crate::replicate::changes::changes;
use crate::replicate::continuity::Break;
use crate::replicate::cursor::Place;
use crate::replicate::durable::Durability;
use crate::replicate::image::Image;
use crate::replicate::pages::PageTable;
use crate::sqlite::{Database, LacksCommits};
#[cfg(doc)]
use crate::wal::FrameHeader;
use crate::wal::{Checksum, Salt, WalHeader};

/// How many bytes of the log may be left to copy while nobody can write, where all of the database
/// would have to be sent otherwise. Copying them takes a tenth of a second.
const REMAINDER_FOR_CHANGES: u64 = 16 << 20;

/// How many copies to try until little enough is left. Each leaves less, unless the application is
/// faster.
const ROUNDS_MAX: u32 = 5;

/// How long to wait for the write lock at the start.
const PATIENCE: Duration = Duration::from_secs(1);

/// A database that cannot change while our read transaction lasts.
pub(super) struct Frozen {
    pub(super) image: Image,
    /// The end of the log, if it could not be emptied. `None`: whatever is written next begins a
    /// new log.
    pub(super) log: Option<LogEnd>,
}

/// Where a log ended when the database was frozen.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogEnd {
    pub(super) offset: u64,
    pub(super) salt: Salt,
    pub(super) checksum: Checksum,
    /// The database file does not have all of that log.
    pub(super) needed: bool,
}

impl Tail {
    /// Recovers from lost continuity: ships what changed, if that can be told, or begins a new
    /// generation.
    ///
    /// If we are cancelled meanwhile, this is left to the next process.
    pub(super) fn recover(&mut self, reason: Break) -> anyhow::Result<()> {
        let known = self.capture.as_ref().is_some_and(Capture::can_ship_changes);
        if self.capture.as_ref().is_some_and(|capture| capture.is_tampering(reason)) {
            error!(
                db = %self.path().display(), %reason,
                "the -wal file was cut off or overwritten by something else than SQLite: the \
                 database may be damaged, or have gone back"
            );
            self.estrange();
        }
        if self.schedule.checkpoints.fresh && known {
            match self.ship_changes() {
                Ok(true) => return Ok(()),
                Ok(false) => (),
                Err(error) if self.lines.cancellation.is_cancelled() => {
                    // The log may be gone already: with no database open, what was not captured
                    // counts as unknown.
                    self.database = None;
                    return Err(error);
                }
                Err(error) if error.is::<LacksCommits>() => return Err(error),
                Err(error) => warn!(
                    db = %self.path().display(),
                    "cannot compare the database with its replicas: {error:#}"
                ),
            }
        }
        self.abandon(&reason.to_string());
        Ok(())
    }

    /// If `outcome` failed because continuity was lost, recovers and returns the default.
    pub(super) fn recovered<T: Default>(
        &mut self,
        outcome: anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        outcome.or_else(|error| {
            self.recover(error.downcast()?)?;
            Ok(T::default())
        })
    }

    /// Rebuilds the table of pages from the database as it was at the cursor. Returns `false` if
    /// that state no longer exists: the log is another one, or was copied beyond the cursor.
    pub(super) fn rebuild_pages(&mut self) -> anyhow::Result<bool> {
        let (Some(database), Some(capture)) = (&self.database, &mut self.capture) else {
            return Ok(false);
        };
        let cursor = capture.cursor();
        let (generation, pages) = (cursor.generation, cursor.pages);
        let (file, page_size) = (database.file().clone(), database.page_size());
        let image = match (cursor.place, database.log()?) {
            (Place::Start, _) => Image::of_file(file, page_size, pages),
            (Place::Within { salt, offset, checksum }, Some(log))
                if log.header.salt == salt && log.holds(offset, checksum)? =>
            {
                Image::with_log(file, page_size, pages, log, offset)?
            }
            _ => return Ok(false),
        };
        let image = image.until(&self.lines.cancellation);
        let path = self.state.pages();
        let table = PageTable::build(&path, generation, page_size, pages, image.reader())?;
        Ok(capture.replace_pages(table))
    }

    /// Compares the database, page by page, with what the replicas have, and stages the difference
    /// as the next WAL. Returns whether the generation goes on.
    fn ship_changes(&mut self) -> anyhow::Result<bool> {
        if self.has_lost_its_log()? {
            return Ok(false);
        }
        // More may be left to copy than elsewhere: otherwise all of the database would have to be
        // sent.
        let frozen = self.freeze(PATIENCE, REMAINDER_FOR_CHANGES)?;
        let Some(Frozen { image, log }) = frozen else { return Ok(false) };
        if log.is_some_and(|log| log.needed) || (log.is_some() && !self.truncate_log()?) {
            return Ok(false);
        }
        if !self.weigh(&image)? {
            return Ok(false);
        }
        let Some(capture) = &mut self.capture else { return Ok(false) };
        let changes = changes(capture, &image)?;
        // Checked only now: another process may have written to the file meanwhile.
        match Comparison::of(changes, self.ancestry.sameness, self.is_untouched()?) {
            Comparison::Same(pages) => return self.go_on_with(&pages, &image),
            Comparison::LogLost => self.mourn_log(),
            Comparison::Another => self.recognize_application(),
            Comparison::Unproven => (),
        }
        Ok(false)
    }

    /// Looks for evidence that the database to be compared is not the one that was captured.
    /// Returns `false` if it is damaged, or has gone back.
    fn weigh(&mut self, image: &Image) -> anyhow::Result<bool> {
        let Some(capture) = &self.capture else { return Ok(false) };
        let mut first = vec![0; image.page_size().bytes()];
        image.read_pages(1, &mut first)?;
        if capture.was_overwritten(&first) {
            warn!(
                db = %self.options.path.display(),
                "the file was overwritten in place, by an earlier state or by another database"
            );
            self.estrange();
        }
        if self.ancestry.sameness == Sameness::Suspected {
            if self.has_suffered(image)? {
                self.estrange();
                return Ok(false);
            }
            self.ancestry.sameness = Sameness::Given;
        }
        Ok(true)
    }

    /// Goes on in the generation, with what the `changed` pages have now as the next WAL. The log
    /// must be empty, and all other pages must be as they were captured.
    fn go_on_with(&mut self, changed: &[u32], image: &Image) -> anyhow::Result<bool> {
        let staging = self.staging(|standing| standing != Standing::Outside);
        let Some(capture) = &mut self.capture else { return Ok(false) };
        let mut pages = changed.to_vec();
        if pages.is_empty() && capture.cursor().place != Place::Start {
            // Page 1 as it is: this takes the name that another daemon would use next if it goes on
            // from a copy of the same state.
            pages.push(1);
        }
        if !pages.is_empty() {
            let salt = Salt(fastrand::u64(..).to_be_bytes());
            capture.cut_changes(
                &self.state,
                &staging,
                salt,
                &pages,
                image.pages(),
                |page, content| image.read_pages(page, content),
            )?;
            capture.next_index()?;
        }
        capture.note_drained();
        // Even if the file is a copy, its pages are now what was captured.
        self.ancestry.sameness = Sameness::Given;
        capture.save(&self.state, Durability::Process)?;
        self.schedule.checkpoints.fresh = false;
        info!(
            db = %self.path().display(),
            pages_changed = changed.len(),
            "the log was reset since the last stop: compared the database with what was captured last, and the generation goes on"
        );
        self.publish();
        Ok(true)
    }

    /// Copies the whole log into the database file and empties the log. Returns the database as it
    /// is then, which cannot change while our read transaction lasts.
    ///
    /// If another process reads from the log, it cannot be emptied: then the state at the end of
    /// the log is returned, with where that end is. Returns `None` if a writer did not let us in.
    ///
    /// At most `remainder_max` bytes of the log are copied while nobody can write. If the
    /// application is faster than that, the state at the end of its log is returned, too.
    pub(super) fn freeze(
        &mut self,
        patience: Duration,
        remainder_max: u64,
    ) -> anyhow::Result<Option<Frozen>> {
        let Some(database) = &self.database else { return Ok(None) };
        let (mut end, mut rest) = (None, u64::MAX);
        // Asked now to have the schema in memory: the answer is then instant while others wait.
        let mut pages = database.newest_pages()?;
        for _ in 0..ROUNDS_MAX {
            let advanced = self.in_turns(patience, Self::leave_log, |tail, turn| {
                let Some(database) = &mut tail.database else { return Ok(None) };
                database.advance(turn, |_| Ok(()))
            })?;
            let (Some(_), Some(database)) = (advanced, &mut self.database) else { return Ok(None) };
            let copied = database.backfill()?.unwrap_or(bytes(end));
            end = find_end(database, end)?;
            let before = std::mem::replace(&mut rest, bytes(end).saturating_sub(copied));
            if rest <= remainder_max || is_outpaced(before, rest) {
                break;
            }
        }
        if rest <= remainder_max {
            // An error will show again in the checkpoint.
            let _ = self.database.as_ref().map(Database::sync_log);
        }
        let checkpoint = self.in_turns(patience, Self::leave_log, |tail, turn| {
            let Some(database) = &mut tail.database else { return Ok(None) };
            let see = |database: &Database| -> anyhow::Result<()> {
                end = find_end(database, end)?;
                pages = database.newest_pages()?;
                Ok(())
            };
            if rest <= remainder_max {
                database.checkpoint(turn, see)
            } else {
                // The application is faster than the disk, and would have to wait for it.
                database.advance(turn, see)
            }
        })?;
        let (Some(checkpoint), Some(database)) = (checkpoint, &mut self.database) else {
            return Ok(None);
        };
        let (file, page_size) = (database.file().clone(), database.page_size());
        let (emptied, whole) = match end {
            None => (true, true),
            Some(end) if checkpoint.complete && end.offset <= LOG_BYTES_KEPT => {
                let emptied = database.truncate_log()?;
                (emptied, emptied || is_whole(database, end)?)
            }
            // Writers would have to wait for a truncation, too: a log that can be read is left to
            // restart by itself.
            Some(end) => {
                let whole = is_whole(database, end)?;
                (checkpoint.complete && !whole && database.truncate_log()?, whole)
            }
        };
        if !emptied && !whole {
            bail!(
                "the checksums of the log do not hold, so that it cannot be captured: all of it has \
                 to be copied into the database file first, for which whoever reads from it has to \
                 end. Until then a crash would lose what is in it"
            );
        }
        if checkpoint.complete {
            let image = Image::of_file(file, page_size, pages)
                .until(&self.lines.cancellation)
                .under(database.lease());
            return Ok(Some(Frozen { image, log: end.filter(|_| !emptied) }));
        }
        let (Some(log), Some(end)) = (database.log()?, end) else { return Ok(None) };
        let image = Image::with_log(file, page_size, pages, log, end.offset)?
            .until(&self.lines.cancellation)
            .under(database.lease());
        Ok(Some(Frozen { image, log: Some(LogEnd { needed: true, ..end }) }))
    }
}

fn bytes(end: Option<LogEnd>) -> u64 {
    end.map_or(0, |end| end.offset)
}

/// Whether the log can be read to `end`, as SQLite does when it recovers a log; or is gone.
///
/// SQLite itself may have written one that cannot be read that way: see
/// [`FrameHeader::has_no_checksum`].
fn is_whole(database: &Database, end: LogEnd) -> anyhow::Result<bool> {
    let Some(log) = database.log()?.filter(|log| log.header.salt == end.salt) else {
        return Ok(true);
    };
    Ok(log.leads_to(end.offset, end.checksum)? || !log.has_its_header()?)
}

/// The end of the log, if there is a commit in it. What is before `known` is not read again: nobody
/// should have to wait for that.
fn find_end(database: &Database, known: Option<LogEnd>) -> anyhow::Result<Option<LogEnd>> {
    let Some(log) = database.log()? else { return Ok(None) };
    let salt = log.header.salt;
    let known = known.filter(|known| known.salt == salt);
    let begin = (WalHeader::SIZE as u64, log.header.checksum);
    let (offset, checksum) = known.map_or(begin, |known| (known.offset, known.checksum));
    let view = database.view(&log, offset, checksum)?;
    let found = LogEnd { offset: view.end, salt, checksum: view.checksum, needed: false };
    Ok(view.pages.map(|_| found).or(known))
}
