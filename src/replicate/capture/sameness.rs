//! Whether a database file is what was captured.

use std::fs::{File, Metadata};
use std::io;
use std::sync::Arc;

use super::Capture;
use crate::replicate::continuity::Break;
use crate::replicate::cursor::{Cursor, Place};
use crate::replicate::image::Image;
use crate::replicate::last_write::{Clock, Fate, LastWrite};
use crate::replicate::marks::Marks;
use crate::sqlite::LogFile;

impl Capture {
    /// Whether the file was overwritten since the cursor, by an earlier state of the database or by
    /// another one. `first` is its first page now, and nothing must be in the log.
    ///
    /// `true` is certain. `false` is not: an overwritten file may go unnoticed.
    pub(in crate::replicate) fn was_overwritten(&self, first: &[u8]) -> bool {
        Marks::of(first).is_before(self.cursor.marks)
    }

    /// Whether this is the log that was read last.
    pub(in crate::replicate) fn has_read(&self, log: &LogFile) -> bool {
        matches!(self.cursor.place, Place::Within { salt, .. } if salt == log.header.salt)
    }

    /// Whether the log leads from this database file to what was captured.
    pub(in crate::replicate) fn is_led_to(
        &mut self,
        file: &Arc<File>,
        log: LogFile,
    ) -> anyhow::Result<bool> {
        let Cursor { generation, page_size, pages, place, digest, .. } = self.cursor;
        let is_base = self.earlier.are_in(generation, page_size, file, &log)?;
        let image = match place {
            Place::Within { salt, offset, checksum } if salt == log.header.salt => {
                if !log.holds(offset, checksum)? {
                    return Ok(false);
                }
                Image::with_log(file.clone(), page_size, pages, log, offset)?
            }
            // Another log, of which the file has nothing yet.
            _ => Image::of_file(file.clone(), page_size, pages),
        };
        Ok(is_base && image.until(&self.cancellation).digest(generation)? == digest)
    }

    /// Notes when the database file was last written to, if it can have nothing that was not
    /// captured, and returns what became of it since the previous note. If the file was given an
    /// earlier time, that is not noted: its content has to be looked at.
    pub(in crate::replicate) fn note_write(&mut self, file: &File) -> io::Result<Fate> {
        if !self.is_seen_to_its_end() {
            return Ok(Fate::Unknown);
        }
        let (metadata, clock) = (file.metadata()?, Clock::read());
        let fate = self.written.map_or(Fate::Unknown, |written| written.fate(&metadata, clock));
        if fate == Fate::Unknown {
            self.written = clock.and_then(|clock| LastWrite::of(&metadata, clock));
        }
        Ok(fate)
    }

    /// Forgets when the file was last written to: somebody has set its time by hand.
    pub(in crate::replicate) fn forget_write(&mut self) {
        self.written = None;
    }

    /// What became of the database file since its last write was noted.
    pub(in crate::replicate) fn fate(&self, file: &Metadata) -> Fate {
        self.written.map_or(Fate::Unknown, |written| written.fate(file, Clock::read()))
    }

    /// Whether the database file, without any log, is what was captured.
    pub(in crate::replicate) fn is_in(&self, file: &Arc<File>) -> io::Result<bool> {
        let Cursor { generation, page_size, pages, digest, .. } = self.cursor;
        let image = Image::of_file(file.clone(), page_size, pages).until(&self.cancellation);
        Ok(image.digest(generation)? == digest)
    }

    /// Whether only something other than SQLite can have broken continuity for this `reason`: a log
    /// is never shorter than what was committed to it, unless the machine lost power, and while we
    /// hold it no other log takes its place.
    pub(in crate::replicate) fn is_tampering(&self, reason: Break) -> bool {
        match reason {
            Break::FrameOverwritten => self.same_boot,
            Break::LogReplaced => self.is_held(),
            _ => false,
        }
    }

    /// Whether the log was lost before all of it was in the database file: some pages there are
    /// what they were before they were captured from it, and none is what it was captured as.
    /// `read` reads a page of the database as it is now.
    pub(in crate::replicate) fn has_gone_back(
        &mut self,
        pages: u32,
        read: impl Fn(u32, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut content = vec![0; self.cursor.page_size.bytes()];
        let mut gone_back = false;
        for (page, before) in self.earlier.iter().filter(|&(page, _)| page <= pages) {
            read(page, &mut content)?;
            if self.pages.was(page, before, &content)? {
                gone_back = true;
            } else if self.pages.holds(page, &content)? {
                return Ok(false);
            }
        }
        Ok(gone_back)
    }
}
