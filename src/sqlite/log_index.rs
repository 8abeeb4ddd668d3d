use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use crate::wal::PageSize;

/// The header of the `-shm` file, of which there are two copies, as described in `walformat.html`
/// of SQLite. Numbers are in the byte order of the machine.
const HEADER_BYTES: usize = 48;
const COMMITS_AT: usize = 8;
const INITIALIZED_AT: usize = 12;
const PAGE_SIZE_AT: usize = 14;
const FRAMES_AT: usize = 16;

/// Where, behind both headers, is how many frames a checkpoint copies or has copied:
/// `nBackfillAttempted` in wal.c.
const COPYING_AT: usize = 128;
const BYTES: usize = COPYING_AT + 4;

/// What the index of a log says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogIndex {
    header: [u8; HEADER_BYTES],
    /// `None` if no log has begun since the index was made.
    page_size: Option<PageSize>,
    copying: u32,
}

impl LogIndex {
    /// `None` if that cannot be told: the index is being written just now, or it is not in use.
    pub(super) fn read(index: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; BYTES];
        match index.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        }
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8; BYTES]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        if !rest.starts_with(header) || header[INITIALIZED_AT] == 0 {
            return None;
        }
        let page_size = u16::from_ne_bytes(header[PAGE_SIZE_AT..][..2].try_into().ok()?);
        // 1 stands for 65536, which does not fit.
        let page_size = if page_size == 1 { 1 << 16 } else { u32::from(page_size) };
        let page_size = PageSize::new(page_size);
        let copying = u32::from_ne_bytes(bytes[COPYING_AT..].try_into().ok()?);
        let index = Self { header: *header, page_size, copying };
        (page_size.is_some() || index.committed_frames() == 0).then_some(index)
    }

    /// How many frames of the log are committed.
    pub(super) fn committed_frames(&self) -> u64 {
        self.number(FRAMES_AT).into()
    }

    /// How long the log is at least, in bytes: up to the last frame that is committed.
    pub(super) fn committed_bytes(&self) -> u64 {
        match (self.committed_frames(), self.page_size) {
            (0, _) | (_, None) => 0,
            (frames, Some(page_size)) => page_size.wal_bytes(frames),
        }
    }

    /// Whether a checkpoint is copying all of the log, or has copied it. Then it has looked how far
    /// the readers are (`walCheckpoint` in wal.c).
    pub(super) fn is_all_copying(&self) -> bool {
        u64::from(self.copying) >= self.committed_frames()
    }

    /// Whether nothing was committed between an earlier look and this one. The log may have been
    /// emptied in between.
    ///
    /// Commits are counted across restarts of a log. Only where a process dies while it writes to
    /// the index does the count begin anew, with the first commits after that.
    pub(super) fn is_unchanged_since(&self, before: &Self) -> bool {
        let is_emptied =
            self.committed_bytes() == 0 && self.number(COMMITS_AT) == before.number(COMMITS_AT);
        self.header == before.header || is_emptied
    }

    fn number(&self, at: usize) -> u32 {
        let word = self.header[at..].first_chunk();
        u32::from_ne_bytes(word.copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::sidecar;

    #[test]
    fn knows_what_sqlite_has_committed() {
        for page_size in [512, 4096, 65536] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("db");
            let connection = rusqlite::Connection::open(&path).unwrap();
            let found = || {
                let index = File::open(sidecar(&path, "-shm")).unwrap();
                LogIndex::read(&index).unwrap().map(|index| index.committed_bytes())
            };
            let settings = format!("PRAGMA page_size = {page_size}; PRAGMA journal_mode = wal");
            connection.execute_batch(&settings).unwrap();
            connection.execute_batch("CREATE TABLE t (x)").unwrap();
            let log = std::fs::metadata(sidecar(&path, "-wal")).unwrap().len();
            assert!(log > 0);
            assert_eq!(found(), Some(log));
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            assert_eq!(found(), Some(0));
        }
    }

    #[test]
    fn says_nothing_while_it_is_written() {
        let mut bytes = [0; BYTES];
        assert!(LogIndex::parse(&bytes).is_none(), "not initialized");
        for copy in [0, HEADER_BYTES] {
            bytes[copy + INITIALIZED_AT] = 1;
        }
        assert_eq!(LogIndex::parse(&bytes).unwrap().committed_bytes(), 0, "no log yet");
        for copy in [0, HEADER_BYTES] {
            bytes[copy + PAGE_SIZE_AT..][..2].copy_from_slice(&4096_u16.to_ne_bytes());
        }
        assert_eq!(LogIndex::parse(&bytes).unwrap().committed_bytes(), 0);
        bytes[FRAMES_AT] = 7;
        assert!(LogIndex::parse(&bytes).is_none(), "one copy only");
    }

    #[test]
    fn knows_whether_something_was_committed_and_whether_all_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let run = |sql: &str| connection.execute_batch(sql).unwrap();
        let look =
            || LogIndex::read(&File::open(sidecar(&path, "-shm")).unwrap()).unwrap().unwrap();
        run("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)");
        let written = look();
        assert!(written.is_unchanged_since(&written) && !written.is_all_copying());
        run("PRAGMA wal_checkpoint");
        let copied = look();
        assert!(copied.is_unchanged_since(&written) && copied.is_all_copying());
        run("PRAGMA wal_checkpoint(TRUNCATE)");
        let emptied = look();
        assert!(emptied.is_unchanged_since(&written) && emptied.is_all_copying());
        run("INSERT INTO t VALUES (1)");
        let next = look();
        for before in [written, copied, emptied] {
            assert!(!next.is_unchanged_since(&before), "{before:?}");
        }
        run("PRAGMA wal_checkpoint(TRUNCATE)");
        for before in [written, copied, emptied] {
            assert!(!look().is_unchanged_since(&before), "{before:?}");
        }
    }
}
