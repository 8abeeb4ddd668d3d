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
use crate::sqlite::{Database, LogFile};
use crate::wal::{Checksum, FrameWriter, Salt, WalHeader};

/// A segment that was cut.
#[derive(Clone, Copy, Debug)]
pub(in crate::replicate) struct Cut {
    /// Bytes of WAL.
    pub(in crate::replicate) bytes: u64,
}

/// What was found in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::replicate) struct Look {
    pub(in crate::replicate) cut: Option<Cut>,
    /// There may be another commit soon, of which nothing will tell: SQLite says in shared memory
    /// that it is one, after it was written.
    pub(in crate::replicate) unsettled: bool,
}

/// Where a segment ends.
struct Progress {
    end: u64,
    checksum: Checksum,
    pages: u32,
    committed: SystemTime,
}

/// Makes a segment of the bytes of a WAL.
type SegmentWriter = lz4::Encoder<BufWriter<File>>;

impl Capture {
    /// Cuts everything that was committed since the last segment into one segment, and stages it.
    pub(in crate::replicate) fn cut(
        &mut self,
        database: &Database,
        state: &StateDirectory,
        staging: &[Staging],
    ) -> anyhow::Result<Look> {
        let Some(log) = database.log()? else { return Ok(Look::default()) };
        let start = match self.cursor.place {
            Place::Start => (WalHeader::SIZE as u64, log.header.checksum),
            Place::Within { salt, checksum } if salt == log.header.salt => {
                (self.cursor.pos.offset, checksum)
            }
            // The log was restarted since it was compared with the cursor.
            Place::Within { .. } => return Ok(Look::default()),
        };
        if self.is_ahead_on_another(log.header.salt) {
            return Ok(Look::default());
        }
        if log.header.page_size != self.cursor.page_size {
            bail!("the log has pages of another size than the database");
        }
        let view = log.view(start.0, start.1)?;
        let unsettled = view.more;
        if view.pages.is_none() {
            return Ok(Look { cut: None, unsettled });
        }
        let (salt, bytes) = (log.header.salt, view.end - start.0);
        let seal = self.stage(state, staging, salt, bytes, |capture, target| {
            capture.copy_frames(&log, start, view.end, target)
        })?;
        if self.held_end != Some((salt, view.end)) {
            self.held = false;
            self.drained = false;
        }
        let bytes = view.end - seal.start.offset;
        debug!(pos = %seal.start, bytes, "segment cut");
        Ok(Look { cut: Some(Cut { bytes }), unsettled })
    }

    /// Stages pages that changed while nobody watched, as if they were in the log: behind what was
    /// captured of it last, or in one with this salt if it is to be begun.
    ///
    /// The log of the database must be empty and `content` must read the database file as it is.
    /// The checksums are continued in the byte order of this machine, which is that of all logs
    /// that are captured.
    pub(in crate::replicate) fn cut_changes(
        &mut self,
        state: &StateDirectory,
        staging: &[Staging],
        salt: Salt,
        changed: &[u32],
        pages: u32,
        content: impl Fn(u32, &mut [u8]) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let (salt, before) = match self.cursor.place {
            Place::Start => (salt, None),
            Place::Within { salt, checksum } => (salt, Some(checksum)),
        };
        let header = WalHeader::new(self.cursor.page_size, salt);
        let (start, count) = (self.cursor.pos.offset, changed.len() as u64);
        let end = match before {
            None => header.page_size.wal_bytes(count),
            Some(_) => start + count * header.page_size.frame_bytes(),
        };
        self.stage(state, staging, salt, end - start, |capture, target| {
            let mut frames = match before {
                None => FrameWriter::new(target, &header)?,
                Some(checksum) => FrameWriter::resume(target, &header, checksum),
            };
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
            Ok(Progress { end, checksum, pages, committed: SystemTime::now() })
        })?;
        Ok(())
    }

    /// Takes the names that another daemon would use next, which has captured the same database and
    /// may go on any time, such as one that was stopped for an hour: behind the last segment, and
    /// at the beginning of the next WAL. It will find them taken. `first` is the first page of the
    /// database, which is written once more as it is.
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

    /// Writes the first page once more, and goes on with the next WAL.
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

    /// Writes a segment of the log with that salt from the cursor on, gives it to the replicas, and
    /// moves the cursor.
    fn stage(
        &mut self,
        state: &StateDirectory,
        staging: &[Staging],
        salt: Salt,
        size: u64,
        fill: impl FnOnce(&mut Self, &mut SegmentWriter) -> anyhow::Result<Progress>,
    ) -> anyhow::Result<Seal> {
        let partial = state.partial_segment();
        let context = || format!("stage a segment in {}", partial.display());
        // Never written to again once it has another name: a process may have died in between.
        remove(&partial)?;
        Failpoint::SegmentCreating.pass().with_context(context)?;
        let file = File::create_new(&partial).with_context(context)?;
        let mut encoder = lz4::Encoder::new(BufWriter::with_capacity(1 << 16, file), size);
        let in_order = self.ahead.is_none();
        self.ahead = Some(salt);
        let progress = fill(self, &mut encoder).with_context(context)?;
        if !in_order {
            // A cut before this one was not finished; by now its pages were all seen again.
            self.pages.sum()?;
        }
        self.pages.flush()?;
        let cursor = Cursor {
            pos: WalPos { offset: progress.end, ..self.cursor.pos },
            place: Place::Within { salt, checksum: progress.checksum },
            pages: progress.pages,
            digest: self.pages.digest(),
            committed: progress.committed.max(self.cursor.committed),
            ..self.cursor.clone()
        };
        let seal = Seal {
            content: Content::Segment,
            previous: self.cursor.link,
            ..seal_at(&cursor, self.cursor.pos)
        };
        let mut target = encoder.finish().with_context(context)?;
        seal.write(&mut target).and_then(|()| target.flush()).with_context(context)?;
        Failpoint::SegmentCut.pass().with_context(context)?;
        for staging in staging {
            staging.add(cursor.generation, seal.start, &partial).with_context(context)?;
            Failpoint::SegmentLinked.pass().with_context(context)?;
        }
        let cursor = Cursor { link: seal.link(), ..cursor };
        // If that fails the segment does not count, and is cut again.
        self.save_as(cursor.clone(), state, Durability::Process, false)?;
        self.cursor = cursor;
        self.ahead = None;
        // Last of all: as long as it is there, the page table may be ahead of the cursor.
        remove(&partial)?;
        Ok(seal)
    }

    /// Takes note of a page that goes into a segment. If that is not finished, the page is seen
    /// once more.
    fn take_page(&mut self, number: u32, content: &[u8]) -> io::Result<()> {
        if number == 1 {
            self.cursor.marks = Marks::of(content);
        }
        self.pages.update(number, content)
    }

    /// Copies the frames up to `end`, where a transaction ends, and proves each of them.
    fn copy_frames(
        &mut self,
        log: &LogFile,
        (mut offset, checksum): (u64, Checksum),
        end: u64,
        target: &mut impl Write,
    ) -> anyhow::Result<Progress> {
        if self.cursor.place == Place::Start {
            target.write_all(&log.header.to_bytes())?;
        }
        let mut page = vec![0; self.cursor.page_size.bytes()];
        let mut frames = log.frames(offset, checksum);
        let mut committed = None;
        while offset < end {
            self.cancellation.check()?;
            let Some(frame) = frames.next_frame(&mut page)? else {
                return Err(self.altered_at(log.header.salt, offset));
            };
            target.write_all(&frame.to_bytes())?;
            target.write_all(&page)?;
            self.take_page(frame.page, &page)?;
            if let Some(pages) = frame.commit {
                self.pages.commit(pages)?;
            }
            committed = frame.commit;
            offset += self.cursor.page_size.frame_bytes();
        }
        let Some(pages) = committed else { return Err(self.altered_at(log.header.salt, end)) };
        let committed = log.modified.min(SystemTime::now());
        Ok(Progress { end, checksum: frames.checksum(), pages, committed })
    }

    /// A committed frame is not what it was. When that is so again, nothing will change it.
    fn altered_at(&mut self, salt: Salt, offset: u64) -> anyhow::Error {
        let again = self.altered.replace((salt, offset)) == Some((salt, offset));
        // A new generation would begin with the same log, which somebody keeps.
        if again && self.cursor.pos != WalPos::default() {
            return Break::FrameAltered.into();
        }
        anyhow!(
            "the committed frame at {offset} of the log was altered, or it is restarted just now"
        )
    }
}
