use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use tracing::debug;

use super::{Capture, seal_at};
use crate::failpoint::Failpoint;
use crate::format::{Content, Seal, WalPos, lz4};
use crate::replicate::continuity::Break;
use crate::replicate::cursor::{Cursor, Place};
use crate::replicate::durable::{Durability, remove};
use crate::replicate::marks::Marks;
use crate::replicate::staging::Staging;
use crate::replicate::state_directory::StateDirectory;
use crate::sqlite::{Database, LogFile, LogView};
use crate::wal::{ByteOrder, Checksum, FrameSelection, FrameWriter, Salt, WalHeader};

/// A segment that was cut.
#[derive(Clone, Copy, Debug)]
pub(in crate::replicate) struct Cut {
    /// How many bytes of the log it stands for.
    pub(in crate::replicate) bytes: u64,
}

/// What was found in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::replicate) struct Look {
    pub(in crate::replicate) cut: Option<Cut>,
    /// There may be another commit soon, of which nothing will notify us: SQLite writes the frames
    /// first, and says in shared memory later that they are committed.
    pub(in crate::replicate) unsettled: bool,
}

/// A part of the log that ends with a commit.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    /// The checksum of the frame before it.
    checksum: Checksum,
    end: u64,
    /// The size of the database after it.
    pages: u32,
}

/// Where a segment ends.
struct Progress {
    place: Place,
    /// The checksum of its last frame.
    checksum: Checksum,
    pages: u32,
    committed: SystemTime,
}

/// Compresses the bytes of a WAL into a segment.
type SegmentWriter = lz4::Encoder<BufWriter<File>>;

impl Capture {
    /// Cuts everything that was committed since the last segment into one segment, and stages it.
    pub(in crate::replicate) fn cut(
        &mut self,
        database: &Database,
        state: &StateDirectory,
        staging: &[Staging],
    ) -> anyhow::Result<Look> {
        let outside = database.log_state()?;
        self.idle = None;
        let Some(log) = database.log()? else {
            if !self.is_watched() && self.cursor.place != Place::Start {
                return Err(Break::LogGone.into());
            }
            self.note_idle(outside);
            self.caught_up(database, state)?;
            return Ok(Look::default());
        };
        let (start, checksum) = match self.cursor.place {
            Place::Start => (WalHeader::SIZE as u64, log.header.checksum),
            Place::Within { salt, offset, checksum } if salt == log.header.salt => {
                (offset, checksum)
            }
            // The log was restarted since it was compared with the cursor.
            Place::Within { .. } => return Ok(Look::default()),
        };
        let salt = log.header.salt;
        if self.is_ahead_on_another(salt) {
            return Ok(Look::default());
        }
        if log.header.page_size != self.cursor.page_size {
            bail!("the log has pages of another size than the database");
        }
        let LogView { end, pages, more: unsettled, .. } = database.view(&log, start, checksum)?;
        if !self.is_watched() && self.was_restarted(database, &log)? {
            return Err(Break::LogRestarted.into());
        }
        let Some(pages) = pages else {
            if !unsettled {
                self.note_idle(outside);
            }
            self.hold.note_caught_up();
            self.caught_up(database, state)?;
            return Ok(Look { cut: None, unsettled });
        };
        let Some(numbers) = log.page_numbers(start, end)? else {
            return Err(self.altered_at(salt, start));
        };
        let frames = if self.owes_log() {
            FrameSelection::all(numbers)
        } else {
            FrameSelection::newest(numbers)
        };
        self.note_write(database.file())?;
        let span = Span { start, checksum, end, pages };
        let seal = self.stage(state, staging, salt, frames.count(), |capture, target| {
            capture.copy_frames(&log, span, &frames, target)
        })?;
        self.hold.note_caught_up();
        self.hold.note_cut(self.cursor.place);
        self.note_seen_to_its_end();
        debug!(pos = %seal.start, bytes = end - start, frames = frames.count(), "segment cut");
        Ok(Look { cut: Some(Cut { bytes: end - start }), unsettled })
    }

    /// Whether the log was restarted before we asked how much is committed, although it still holds
    /// what was captured of it: then the answer is about the next log, and what was after the
    /// cursor is gone.
    ///
    /// A log is restarted in shared memory first, and its header is written before anything is
    /// committed to it: so they are checked in that order.
    fn was_restarted(&self, database: &Database, log: &LogFile) -> anyhow::Result<bool> {
        let Place::Within { offset, .. } = self.cursor.place else { return Ok(false) };
        Ok(database.committed_bytes()? < offset || !log.has_its_header()?)
    }

    /// Notes that there is nothing new in the log.
    fn caught_up(&mut self, database: &Database, state: &StateDirectory) -> anyhow::Result<()> {
        self.note_seen_to_its_end();
        let before = self.written;
        self.note_write(database.file())?;
        if self.written != before && self.save(state, Durability::Process).is_err() {
            // No error: a full disk prevents nothing that has to be done now.
            self.written = before;
        }
        Ok(())
    }

    /// Stages pages that changed while nobody watched, as if they were in the log: after what was
    /// captured of it last, or in a log with this salt if the cursor is at the start of one.
    ///
    /// The log of the database must be empty, and `content` must read the database file as it is.
    pub(in crate::replicate) fn cut_changes(
        &mut self,
        state: &StateDirectory,
        staging: &[Staging],
        salt: Salt,
        changed: &[u32],
        pages: u32,
        content: impl Fn(u32, &mut [u8]) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let salt = match self.cursor.place {
            Place::Start => salt,
            Place::Within { salt, .. } => salt,
        };
        let header = WalHeader::new(self.cursor.page_size, salt);
        let count = changed.len() as u64;
        let offset = self.end_after(count);
        self.stage(state, staging, salt, count, |capture, target| {
            let mut frames = capture.continue_wal(&header, target)?;
            let mut page = vec![0; header.page_size.bytes()];
            for (at, &number) in changed.iter().enumerate() {
                capture.cancellation.check()?;
                content(number, &mut page)?;
                let commit = (at + 1 == changed.len()).then_some(pages);
                frames.write_frame(number, commit, &page)?;
                capture.take_page(number, &page)?;
            }
            capture.pages.commit(pages)?;
            let checksum = frames.checksum();
            // No log has a frame with that checksum there, so no process goes on with one.
            let place = Place::Within { salt, offset, checksum };
            Ok(Progress { place, checksum, pages, committed: SystemTime::now() })
        })?;
        Ok(())
    }

    /// Takes the names that another daemon would use next: after the last segment, and at the
    /// beginning of the next WAL.
    ///
    /// Such a daemon has captured the same database and may go on any time, for example after it
    /// was suspended for an hour. It will find the names taken. `first` is the first page of the
    /// database, which is written again as it is.
    pub(in crate::replicate) fn fence(
        &mut self,
        state: &StateDirectory,
        staging: &[Staging],
        first: &[u8],
    ) -> anyhow::Result<()> {
        if matches!(self.cursor.place, Place::Within { .. }) {
            self.write_again(state, staging, first)?;
        }
        self.write_again(state, staging, first)
    }

    /// Writes the first page again, and goes on with the next WAL.
    fn write_again(
        &mut self,
        state: &StateDirectory,
        staging: &[Staging],
        first: &[u8],
    ) -> anyhow::Result<()> {
        let (salt, pages) = (Salt(fastrand::u64(..).to_be_bytes()), self.cursor.pages);
        self.cut_changes(state, staging, salt, &[1], pages, |_, content| {
            content.copy_from_slice(first);
            Ok(())
        })?;
        self.next_index()
    }

    /// Where the WAL of the replicas ends after `frames` more frames.
    fn end_after(&self, frames: u64) -> u64 {
        let page_size = self.cursor.page_size;
        match self.cursor.place {
            Place::Start => page_size.wal_bytes(frames),
            Place::Within { .. } => self.cursor.pos.offset + frames * page_size.frame_bytes(),
        }
    }

    /// Writes to the WAL of the replicas, after what they have of it. It begins with `header`, but
    /// always in the same byte order: a cursor may be taken to another machine, and another machine
    /// may go on with a replica.
    fn continue_wal<'a>(
        &self,
        header: &WalHeader,
        target: &'a mut SegmentWriter,
    ) -> io::Result<FrameWriter<&'a mut SegmentWriter>> {
        let header = header.in_order(ByteOrder::Little);
        match self.cursor.place {
            Place::Start => FrameWriter::new(target, &header),
            Place::Within { .. } => Ok(FrameWriter::resume(target, &header, self.cursor.checksum)),
        }
    }

    /// Writes a segment of `frames` frames, made of the log with this `salt` from the cursor on,
    /// stages it for the replicas, and moves the cursor.
    fn stage(
        &mut self,
        state: &StateDirectory,
        staging: &[Staging],
        salt: Salt,
        frames: u64,
        fill: impl FnOnce(&mut Self, &mut SegmentWriter) -> anyhow::Result<Progress>,
    ) -> anyhow::Result<Seal> {
        let partial = state.partial_segment();
        let context = || format!("stage a segment in {}", partial.display());
        // Removed and never written to: it may already have another name, if a process died in
        // between.
        remove(&partial)?;
        Failpoint::SegmentCreating.pass().with_context(context)?;
        let file = File::create_new(&partial).with_context(context)?;
        let end = WalPos { offset: self.end_after(frames), ..self.cursor.pos };
        let bytes = end.offset - self.cursor.pos.offset;
        let mut encoder = lz4::Encoder::new(BufWriter::with_capacity(1 << 16, file), bytes);
        let in_order = self.ahead.is_none();
        self.ahead = Some(salt);
        let progress = fill(self, &mut encoder).with_context(context)?;
        if !in_order {
            // A cut before this one was not finished; all of its pages have been seen again by now.
            self.pages.sum()?;
        }
        self.pages.flush()?;
        let cursor = Cursor {
            pos: end,
            checksum: progress.checksum,
            place: progress.place,
            pages: progress.pages,
            digest: self.pages.digest(),
            committed: progress.committed.max(self.cursor.committed),
            ..self.cursor.clone()
        };
        let content = Content::Segment { checksum: cursor.checksum.to_bytes() };
        let seal =
            Seal { previous: self.cursor.link, ..seal_at(&cursor, self.cursor.pos, content) };
        let mut target = encoder.finish().with_context(context)?;
        seal.write(&mut target).and_then(|()| target.flush()).with_context(context)?;
        Failpoint::SegmentCut.pass().with_context(context)?;
        for staging in staging {
            staging.add(cursor.generation, seal.start, &partial).with_context(context)?;
            Failpoint::SegmentLinked.pass().with_context(context)?;
        }
        let cursor = Cursor { link: seal.link(), ..cursor };
        // If this fails, the segment does not count, and is cut again.
        self.save_as(cursor.clone(), state, Durability::Process, false)?;
        self.cursor = cursor;
        self.ahead = None;
        // Last of all: while the file is there, the page table may be ahead of the cursor.
        remove(&partial)?;
        Ok(seal)
    }

    /// Notes a page that goes into a segment. If the segment is not finished, the page is seen
    /// again.
    fn take_page(&mut self, number: u32, content: &[u8]) -> io::Result<()> {
        if number == 1 {
            self.cursor.marks = Marks::of(content);
        }
        let before = self.pages.update(number, content)?;
        self.earlier.note(number, before);
        Ok(())
    }

    /// Copies the selected frames of a span, and verifies all frames: the selection follows from
    /// all of them, and SQLite needs all of them when it recovers the log. If some are left out,
    /// the copy is one transaction, for it does not have the states of the database in between.
    fn copy_frames(
        &mut self,
        log: &LogFile,
        span: Span,
        selection: &FrameSelection,
        target: &mut SegmentWriter,
    ) -> anyhow::Result<Progress> {
        let WalHeader { page_size, salt, .. } = log.header;
        let whole = self.owes_log();
        let mut copy = self.continue_wal(&log.header, target)?;
        let mut frames = log.frames(span.start, span.checksum);
        let mut page = vec![0; page_size.bytes()];
        let (mut offset, mut commit) = (span.start, None);
        for (number, selected) in selection.iter() {
            self.cancellation.check()?;
            let frame = frames.next_frame(&mut page)?.filter(|frame| frame.page == number);
            let Some(frame) = frame else { return Err(self.altered_at(salt, offset)) };
            offset += page_size.frame_bytes();
            commit = frame.commit;
            if selected {
                let is_last = offset == span.end;
                let commit = if whole || is_last { frame.commit } else { None };
                copy.write_frame(number, commit, &page)?;
                self.take_page(number, &page)?;
            }
        }
        if commit != Some(span.pages) {
            return Err(self.altered_at(salt, span.end));
        }
        self.pages.commit(span.pages)?;
        Ok(Progress {
            place: Place::Within { salt, offset, checksum: frames.checksum() },
            checksum: copy.checksum(),
            pages: span.pages,
            // Asked only now: the last commit may have been made after the log was opened.
            committed: log.modified()?.min(SystemTime::now()),
        })
    }

    /// Reports a committed frame that does not match its checksum. If it is found like that again,
    /// nothing will change it, and what is after it can only be had from the database file.
    fn altered_at(&mut self, salt: Salt, offset: u64) -> anyhow::Error {
        let again = self.altered.replace((salt, offset)) == Some((salt, offset));
        if again {
            return Break::FrameAltered.into();
        }
        anyhow!(
            "the committed frame at {offset} of the log was altered, or it is restarted just now"
        )
    }
}
