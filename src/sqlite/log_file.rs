use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::bail;

use super::FileFrom;
use super::files::found;
use crate::wal::{Checksum, FrameHeader, FrameReader, WalHeader};

/// The `-wal` file of a live database, as it is at this moment.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    pub header: WalHeader,
}

/// How far a log goes, from some offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogView {
    /// Bytes from the start of the file to the end of the last commit.
    pub end: u64,
    /// The checksum of the last commit.
    pub checksum: Checksum,
    /// The size of the database in pages after that commit. `None` if there is no commit.
    pub pages: Option<u32>,
    /// There are more frames, of a transaction that is not committed.
    pub more: bool,
}

/// A log that lacks what SQLite has committed: it was cut off, or is not the one that the writers
/// of the database have.
#[derive(Debug)]
pub struct LacksCommits;

impl fmt::Display for LacksCommits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the log lacks what is committed: it was cut off, or is not the one that the \
             application has",
        )
    }
}

impl std::error::Error for LacksCommits {}

impl LogFile {
    /// Opens the log. `None` if there is none, or none with a valid header: SQLite makes the file
    /// before it has anything to write to it, and a header is only written with the first frame.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        found(File::open(path))?.map_or(Ok(None), Self::of)
    }

    /// Takes an open file for a log. `None` if it has no valid header.
    pub(super) fn of(file: File) -> io::Result<Option<Self>> {
        let mut bytes = [0; WalHeader::SIZE];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => (),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let Ok(header) = WalHeader::parse(&bytes) else { return Ok(None) };
        Ok(Some(Self { file, header }))
    }

    /// Another handle of the same file.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, ..*self })
    }

    /// Whether it begins with `frames` valid frames, and the last of them is a commit.
    pub(super) fn is_committed(&self, frames: u64) -> io::Result<bool> {
        let mut page = vec![0; self.header.page_size.bytes()];
        let mut reader = self.frames(WalHeader::SIZE as u64, self.header.checksum);
        let mut commit = None;
        for _ in 0..frames {
            let Some(frame) = reader.next_frame(&mut page)? else { return Ok(false) };
            commit = frame.commit;
        }
        Ok(commit.is_some())
    }

    /// When something was last written to it.
    pub fn modified(&self) -> io::Result<SystemTime> {
        self.file.metadata()?.modified()
    }

    /// Bytes of the file, left-overs of earlier logs included.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether the frame that ends at `offset` carries `checksum`: then everything before it is
    /// what led to that checksum, if it was once there and the machine has not lost power.
    pub fn holds(&self, offset: u64, checksum: Checksum) -> io::Result<bool> {
        if offset == WalHeader::SIZE as u64 {
            return Ok(self.header.checksum == checksum);
        }
        let Some(start) = offset.checked_sub(self.header.page_size.frame_bytes()) else {
            return Ok(false);
        };
        let frame = self.frame_header(start)?;
        Ok(frame.is_some_and(|frame| frame.salt == self.header.salt && frame.checksum == checksum))
    }

    /// Whether the frames before `offset` lead to `checksum`: unlike [`LogFile::holds`], reads all
    /// of them, as SQLite does when it recovers a log.
    pub fn leads_to(&self, offset: u64, checksum: Checksum) -> io::Result<bool> {
        let mut end = WalHeader::SIZE as u64;
        let mut page = vec![0; self.header.page_size.bytes()];
        let mut frames = self.frames(end, self.header.checksum);
        while end < offset && frames.next_frame(&mut page)?.is_some() {
            end += self.header.page_size.frame_bytes();
        }
        Ok(end == offset && frames.checksum() == checksum)
    }

    /// Whether there may be a frame at `offset`: a check that costs next to nothing.
    fn continues_at(&self, offset: u64) -> io::Result<bool> {
        Ok(self.frame_header(offset)?.is_some_and(|frame| frame.salt == self.header.salt))
    }

    fn frame_header(&self, offset: u64) -> io::Result<Option<FrameHeader>> {
        let mut bytes = [0; FrameHeader::SIZE];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(Some(FrameHeader::parse(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The page of each frame from `start` to `end`, from the headers alone. `None` if one of them
    /// is not of this log.
    pub fn page_numbers(&self, start: u64, end: u64) -> io::Result<Option<Vec<u32>>> {
        let frame_bytes = self.header.page_size.frame_bytes();
        let count = usize::try_from((end - start) / frame_bytes).map_err(io::Error::other)?;
        let mut pages = Vec::with_capacity(count);
        let mut offset = start;
        while offset < end {
            let frame = self.frame_header(offset)?;
            let Some(frame) = frame.filter(|frame| frame.salt == self.header.salt) else {
                return Ok(None);
            };
            pages.push(frame.page);
            offset += frame_bytes;
        }
        Ok(Some(pages))
    }

    /// The valid frames from `offset` on. `checksum` is that of the frame which ends there.
    pub fn frames(&self, offset: u64, checksum: Checksum) -> FrameReader<impl Read + '_> {
        let source = BufReader::with_capacity(1 << 18, FileFrom::new(&self.file, offset));
        FrameReader::resume(source, &self.header, checksum)
    }

    /// Looks for the last commit after `offset`. `checksum` is that of the frame that ends there.
    /// `committed` is how far the log may be read, in bytes from the start of the file: what is
    /// after that was not committed, or not yet, whatever it looks like.
    ///
    /// What lies in between is not read: all of its frames lead to the checksum that is returned,
    /// or were altered, which shows when they are read.
    pub(super) fn view(
        &self,
        offset: u64,
        checksum: Checksum,
        committed: u64,
    ) -> anyhow::Result<LogView> {
        let more = self.continues_at(offset.max(committed))?;
        let nothing = LogView { end: offset, checksum, pages: None, more };
        if committed <= offset {
            return Ok(nothing);
        }
        let last = self.frame_header(committed - self.header.page_size.frame_bytes())?;
        let is_of_this =
            |last: &FrameHeader| last.salt == self.header.salt || last.has_no_checksum();
        let Some(last) = last.filter(is_of_this) else {
            if self.has_its_header()? {
                return Err(LacksCommits.into());
            }
            // The log was restarted since its header was read.
            return Ok(nothing);
        };
        if last.commit.is_none() {
            bail!("the last committed frame of the log was altered");
        }
        Ok(LogView { end: committed, checksum: last.checksum, pages: last.commit, more })
    }

    /// Whether the log was neither restarted nor emptied since its header was read. The first frame
    /// of a log is written after its header, and committed after that.
    pub fn has_its_header(&self) -> io::Result<bool> {
        let mut bytes = [0; WalHeader::SIZE];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(WalHeader::parse(&bytes).is_ok_and(|header| header == self.header)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Syncs to disk all that was written.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The log as a file, for callers that know what is where in it.
    pub fn into_file(self) -> File {
        self.file
    }
}
