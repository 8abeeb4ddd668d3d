mod earlier;
mod hold;
mod resumption;
mod sameness;
mod segment;

use std::io;
use std::time::SystemTime;

use anyhow::bail;

use super::cancellation::Cancellation;
use super::continuity::{Break, Continuity, Found, continuity};
use super::cursor::{Cursor, Place, Saved};
use super::durable::Durability;
use super::hold::Hold;
use super::last_write::LastWrite;
use super::pages::PageTable;
use super::staging::Staging;
use super::state_directory::StateDirectory;
use crate::failpoint::Failpoint;
use crate::format::{Content, LogPlace, Seal, WalIndex, WalPos};
use crate::sqlite::{Database, FileIdentity, LogFile, LogState};
use crate::wal::{Checksum, Salt, WalHeader};
use earlier::EarlierPages;
pub(super) use segment::{Cut, Look};

/// The capture of one generation: reads the log of a database and cuts it into segments.
///
/// A segment has each page only once, as it is at the end of the segment. So the WAL that the
/// replicas hold is shorter than the log of the database, with checksums of its own, and leads to
/// the same content.
///
/// The cursor on disk is moved after a segment is staged, and a segment may be sent only after the
/// cursor was moved. So a process that dies in between leaves at most a staged segment that is not
/// counted, which the next process cuts again.
#[derive(Debug)]
pub(super) struct Capture {
    cursor: Cursor,
    pages: PageTable,
    hold: Hold,
    /// What is in the database file if the log up to the cursor was never copied into it.
    earlier: EarlierPages,
    /// The page table may be ahead of the cursor: a cut of the log with that salt was begun and not
    /// finished. The pages that it took are seen again only in that log.
    ahead: Option<Salt>,
    /// Where a frame was not what had been committed: the salt of the log, and the offset in it.
    altered: Option<(Salt, u64)>,
    /// The state of the log, from outside, when there was nothing new in it, and how far it was
    /// read. `None`: there may be something new, or a write might leave that state as it is.
    idle: Option<(LogState, Place)>,
    file: FileIdentity,
    /// When the file was last written to, as seen when it could have nothing that was not captured.
    /// So what was captured is the file as it was then, with the log over it.
    written: Option<LastWrite>,
    boot: String,
    /// The cursor was written in this run of the operating system.
    same_boot: bool,
    cancellation: Cancellation,
}

/// The salt of a log of which nothing is known: no log has it.
const UNKNOWN: Salt = Salt([0; 8]);

/// How many times to look at a log that is restarted during each look. A restart takes its writer a
/// whole checkpoint.
const LOOKS_MAX: u32 = 10;

impl Capture {
    /// Begins to capture at `cursor`, where the database has the pages of the table.
    ///
    /// `log_end` is where the log ended then, if there was one: the first segment will be all of
    /// that log, or the beginning of the log that takes its place.
    pub(super) fn begin(
        cursor: Cursor,
        pages: PageTable,
        file: FileIdentity,
        log_end: Option<(Salt, u64)>,
    ) -> Self {
        Self {
            cursor,
            pages,
            hold: Hold::begin(log_end),
            earlier: EarlierPages::default(),
            ahead: None,
            altered: None,
            idle: None,
            file,
            written: None,
            boot: boot(),
            same_boot: true,
            cancellation: Cancellation::default(),
        }
    }

    /// Cuts segments until `cancellation` is cancelled. A segment that is being cut then is not
    /// finished.
    pub(super) fn until(self, cancellation: &Cancellation) -> Self {
        Self { cancellation: cancellation.clone(), ..self }
    }

    /// Whether the table of pages is not known to be that of the cursor: a cut was not finished, or
    /// the table was damaged.
    pub(super) fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Goes on with a table that was rebuilt. Returns `false` if it is not that of the cursor.
    pub(super) fn replace_pages(&mut self, pages: PageTable) -> bool {
        let is_ahead = pages.digest() != self.cursor.digest;
        self.ahead = is_ahead.then_some(UNKNOWN);
        self.pages = pages;
        !is_ahead
    }

    /// Goes on with another file, which has the name of the database now.
    pub(super) fn set_file(&mut self, file: FileIdentity) {
        self.file = file;
        self.written = None;
    }

    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// How far the log was read: its index, and bytes from its start.
    pub(super) fn log_read(&self) -> (WalIndex, u64) {
        let offset = match self.cursor.place {
            Place::Start => 0,
            Place::Within { offset, .. } => offset,
        };
        (self.cursor.pos.index, offset)
    }

    /// Whether the table of pages is that of the cursor, and no particular segment has to come
    /// next.
    pub(super) fn can_ship_changes(&self) -> bool {
        self.ahead.is_none() && !self.owes_log()
    }

    /// Which of the pages from `first` on are not what the replicas have.
    pub(super) fn changed_pages(&mut self, first: u32, run: &[u8]) -> io::Result<Vec<u32>> {
        self.pages.changed(first, run)
    }

    /// Compares the log with the cursor, and moves on to the next index if it was restarted.
    pub(super) fn follow(&mut self, database: &Database) -> anyhow::Result<Result<(), Break>> {
        let outside = database.log_state()?;
        let found = self.find_log(database)?;
        self.hold.note_compared();
        match found {
            Found::Nothing => self.note_idle(outside),
            Found::Log { salt, .. } if self.is_ahead_on_another(salt) => {
                return Ok(Err(Break::Unfinished));
            }
            Found::Log { .. } => (),
        }
        match continuity(self.cursor.place, self.is_held(), found) {
            Continuity::Same => Ok(Ok(())),
            Continuity::Next => {
                self.next_index().map(Ok).or_else(|error| error.downcast::<Break>().map(Err))
            }
            Continuity::Broken(reason) => Ok(Err(reason)),
        }
    }

    fn find_log(&self, database: &Database) -> anyhow::Result<Found> {
        for _ in 0..LOOKS_MAX {
            let Some(log) = database.log()? else { return Ok(Found::Nothing) };
            Failpoint::LogFound.pass()?;
            let holds_cursor = self.is_cursor_in(&log)?;
            // Otherwise the log was restarted in between: the frames may be those of the next log,
            // which say nothing about this one.
            if holds_cursor || log.has_its_header()? {
                let WalHeader { salt, sequence, .. } = log.header;
                return Ok(Found::Log { salt, sequence, holds_cursor });
            }
        }
        bail!("the log is restarted again and again, each time while it is looked at")
    }

    /// Whether `log` leads to the cursor. `false` if the cursor is at the start of a log.
    fn is_cursor_in(&self, log: &LogFile) -> io::Result<bool> {
        match self.cursor.place {
            Place::Start => Ok(false),
            Place::Within { offset, checksum, .. } if self.hold.is_hearsay() => {
                log.leads_to(offset, checksum)
            }
            Place::Within { offset, checksum, .. } => log.holds(offset, checksum),
        }
    }

    /// Whether the table has pages of a segment that was not finished, of another log than this
    /// one.
    fn is_ahead_on_another(&self, salt: Salt) -> bool {
        self.ahead.is_some_and(|begun| begun != salt)
    }

    /// Whether nobody has written to the log since there was nothing new in it. Then SQLite need
    /// not be asked how much of it is committed, which takes a connection for each idle database:
    /// there were no further frames that could have been committed since.
    pub(super) fn is_unwritten(&self, database: &Database) -> io::Result<bool> {
        let Some(idle) = self.idle else { return Ok(false) };
        Ok(idle == (database.log_state()?, self.cursor.place))
    }

    /// Notes that there is nothing new in a log that was in this state before it was read.
    fn note_idle(&mut self, log: LogState) {
        let settled = log.is_settled(SystemTime::now());
        self.idle = settled.then_some((log, self.cursor.place));
    }

    /// Whether something may have been committed that is no longer in any log, because we did not
    /// keep the log from being restarted.
    pub(super) fn may_have_missed(&self, database: &Database) -> bool {
        let judge = |found| continuity(self.cursor.place, false, found);
        let is_same = || self.find_log(database).is_ok_and(|it| judge(it) == Continuity::Same);
        !self.hold.is_watched() && !is_same()
    }

    /// Whether there is a commit after the cursor.
    pub(super) fn lags_behind(&self, database: &Database) -> anyhow::Result<bool> {
        let Some(log) = database.log()? else { return Ok(false) };
        let view = match self.cursor.place {
            Place::Within { salt, offset, checksum } if salt == log.header.salt => {
                database.view(&log, offset, checksum)?
            }
            _ => database.view(&log, WalHeader::SIZE as u64, log.header.checksum)?,
        };
        Ok(view.pages.is_some())
    }

    /// Moves the cursor to the start of the next index, unless it is at the start of one already:
    /// an index without a segment would look as if segments were missing.
    pub(super) fn next_index(&mut self) -> anyhow::Result<()> {
        self.hold.note_next_log();
        if self.cursor.place == Place::Start {
            return Ok(());
        }
        let Some(index) = self.cursor.pos.index.next() else {
            return Err(Break::IndexesUsedUp.into());
        };
        self.pages.end_of_log()?;
        self.cursor.pos = WalPos::start_of(index);
        self.cursor.checksum = Checksum::default();
        self.cursor.place = Place::Start;
        Ok(())
    }

    /// What is known of the database at the cursor, as the seal of a snapshot that begins there.
    pub(super) fn snapshot_seal(&self) -> Seal {
        let content = Content::Snapshot { predecessor: None };
        Seal { previous: self.cursor.link, ..seal_at(&self.cursor, self.cursor.pos, content) }
    }

    /// Writes the cursor to disk.
    pub(super) fn save(
        &self,
        state: &StateDirectory,
        durability: Durability,
    ) -> anyhow::Result<()> {
        self.save_as(self.cursor.clone(), state, durability, false)
    }

    /// Writes a cursor to disk. `clean` promises that everything the cursor stands for is on disk
    /// as well.
    fn save_as(
        &self,
        cursor: Cursor,
        state: &StateDirectory,
        durability: Durability,
        clean: bool,
    ) -> anyhow::Result<()> {
        let (file, boot) = (self.file, self.boot.clone());
        let (directory, written) = (Some(state.identity()), self.written);
        let saved = Saved { cursor, file, directory, written, refuted: false, boot, clean };
        Ok(saved.store(&state.cursor(), durability)?)
    }

    /// Makes everything durable that a later process needs to go on from here.
    pub(super) fn finish(&self, state: &StateDirectory, staging: &[Staging]) -> anyhow::Result<()> {
        for staging in staging {
            staging.sync(self.cursor.generation)?;
        }
        self.pages.sync()?;
        self.save_as(self.cursor.clone(), state, Durability::Power, true)
    }
}

fn seal_at(cursor: &Cursor, start: WalPos, content: Content) -> Seal {
    let (salt, log) = match cursor.place {
        Place::Start => ([0; 8], LogPlace::default()),
        Place::Within { salt, offset, checksum } => {
            (salt.0, LogPlace { offset, checksum: checksum.to_bytes() })
        }
    };
    Seal {
        content,
        generation: cursor.generation,
        start,
        end: cursor.pos,
        page_size: cursor.page_size.get(),
        pages: cursor.pages,
        committed: cursor.committed,
        salt,
        log,
        digest: cursor.digest,
        previous: cursor.link,
    }
}

/// The environment variable by which a test makes a debug build believe that the machine was
/// restarted.
const BOOT: &str = "LITESTREAM_BOOT";

/// Which run of the operating system this is: what was written in an earlier one may be lost.
fn boot() -> String {
    if cfg!(debug_assertions)
        && let Ok(boot) = std::env::var(BOOT)
    {
        return boot;
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
