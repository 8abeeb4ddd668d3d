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
    /// another one, if `first` is its first page now, and nothing is in the log.
    ///
    /// That is certain, but not sure to be noticed.
    pub(in crate::replicate) fn was_overwritten(&self, first: &[u8]) -> bool {
        Marks::of(first).is_before(self.cursor.marks)
    }

    /// Whether that is the log that was read last.
    pub(in crate::replicate) fn has_read(&self, log: &LogFile) -> bool {
        matches!(self.cursor.place, Place::Within { salt, .. } if salt == log.header.salt)
    }

    /// Whether the log leads from a database file to what was captured.
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
            // Another log, of which nothing is in the file yet.
            _ => Image::of_file(file.clone(), page_size, pages),
        };
        Ok(is_base && image.until(&self.cancellation).digest(generation)? == digest)
    }

    /// Takes note of when the database file was written to last, if nothing can be in it that was
    /// not captured, and says what became of it since that was noted before. If it was given an
    /// earlier time, that is not noted: what is in it then is to be looked at.
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

    /// Forgets when it was: somebody has set that by hand.
    pub(in crate::replicate) fn forget_write(&mut self) {
        self.written = None;
    }

    /// What became of the database file since that was noted.
    pub(in crate::replicate) fn fate(&self, file: &Metadata) -> Fate {
        self.written.map_or(Fate::Unknown, |written| written.fate(file, Clock::read()))
    }

    /// Whether the database file, without any log, is what was captured.
    pub(in crate::replicate) fn is_in(&self, file: &Arc<File>) -> io::Result<bool> {
        let Cursor { generation, page_size, pages, digest, .. } = self.cursor;
        let image = Image::of_file(file.clone(), page_size, pages).until(&self.cancellation);
        Ok(image.digest(generation)? == digest)
    }

    /// Whether a log that is not what was read of it can only have been written to by something
    /// else than SQLite: it is never shorter than what was committed to it, unless the machine lost
    /// its power, and as long as we hold it nothing else takes its place.
    pub(in crate::replicate) fn is_tampering(&self, reason: Break) -> bool {
        match reason {
            Break::FrameOverwritten => self.same_boot,
            Break::LogReplaced => self.is_held(),
            _ => false,
        }
    }

    /// Whether the log was lost before all of it was in the database file: pages there are what
    /// they were before they were captured from it, and none is what it was captured as. `read`
    /// reads a page of what is there now.
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
