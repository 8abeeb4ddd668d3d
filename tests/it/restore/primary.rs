use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use litestream::format::{
    Content, Digest, Generation, Key, Kind, Link, LogPlace, PageDigest, Seal, WalPos, lz4,
};
use litestream::wal::{Checksum, FrameReader, PageSize, Salt, WalHeader};
use rusqlite::Connection;

use super::memory::Memory;

/// A moment by the clock of the store, in seconds.
pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// No database here has more, except the extended one, which is empty beyond this.
const SNAPSHOT_BYTES_MAX: u64 = 64 << 20;

/// A database that SQLite writes, and a simple-minded replication of it.
pub(super) struct Primary {
    directory: tempfile::TempDir,
    connection: Connection,
    pub(super) store: Memory,
    sealed: bool,
    generation: Generation,
    /// Where the next segment begins.
    pos: WalPos,
    /// The salt of the WAL at `pos`, or of the one before if the offset is 0.
    salt: Salt,
    checksum: Checksum,
    link: Link,
    /// The link of the last segment before the current WAL.
    link_before_wal: Link,
    forged_digest: bool,
    seconds: u64,
}

impl Primary {
    pub(super) fn new(page_size: u32, sealed: bool) -> Self {
        Self::with(page_size, sealed, "NONE")
    }

    pub(super) fn with(page_size: u32, sealed: bool, auto_vacuum: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join("db")).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA page_size = {page_size}; PRAGMA auto_vacuum = {auto_vacuum};
                 PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0;
                 PRAGMA synchronous = off;"
            ))
            .unwrap();
        Self {
            directory,
            connection,
            store: Memory::default(),
            sealed,
            generation: Generation::from_bits(0),
            pos: WalPos::default(),
            salt: Salt([0; 8]),
            checksum: Checksum::default(),
            link: Link::default(),
            link_before_wal: Link::default(),
            forged_digest: false,
            seconds: 0,
        }
    }

    pub(super) fn execute(&mut self, statement: &str) {
        self.connection.execute_batch(statement).unwrap();
    }

    /// Makes the database `pages` pages large, without writing them.
    pub(super) fn extend(&mut self, pages: u32) {
        self.connection = Connection::open_in_memory().unwrap();
        let file = fs::OpenOptions::new().write(true).open(self.path()).unwrap();
        // The place of the number of pages in the header of a database.
        file.write_all_at(&pages.to_be_bytes(), 28).unwrap();
        file.set_len(u64::from(pages) * 65536).unwrap();
        self.connection = Connection::open(self.path()).unwrap();
        self.execute(
            "PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = off;
             BEGIN IMMEDIATE; ROLLBACK;",
        );
    }

    /// The time of the last object.
    pub(super) fn now(&self) -> SystemTime {
        at(self.seconds)
    }

    /// The end of what was replicated.
    pub(super) fn end(&self) -> WalPos {
        self.pos
    }

    /// When each segment was stored.
    pub(super) fn segments(&self) -> Vec<SystemTime> {
        let keys = self.store.keys().into_iter().filter(|key| key.contains("/wal/"));
        keys.map(|key| self.store.created(&key)).collect()
    }

    pub(super) fn begin_generation(&mut self, bits: u64) {
        self.checkpoint("RESTART");
        self.generation = Generation::from_bits(bits);
        self.salt = self.header().map_or(Salt([0; 8]), |header| header.salt);
        self.pos = WalPos::default();
        self.link = Link::default();
        self.link_before_wal = Link::default();
        self.snapshot();
    }

    /// Begins a generation with the database at the end of a log. Then another log begins.
    pub(super) fn begin_generation_behind_log(&mut self, bits: u64) {
        self.sync();
        self.backfill();
        self.generation = Generation::from_bits(bits);
        self.link_before_wal = Link::default();
        self.snapshot();
        self.checkpoint("RESTART");
        self.pos = WalPos::default();
        self.link = Link::default();
    }

    /// Stores what is left, and makes the next transaction begin another WAL.
    pub(super) fn restart(&mut self) {
        self.sync();
        self.checkpoint("RESTART");
        self.pos = WalPos::start_of(self.pos.index.next().unwrap());
    }

    /// Copies everything into the database file.
    pub(super) fn backfill(&mut self) {
        self.checkpoint("PASSIVE");
    }

    fn checkpoint(&self, mode: &str) {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let busy: i64 = self.connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
    }

    /// Stores the database file as it is. Returns the name of the object.
    pub(super) fn snapshot(&mut self) -> String {
        let mut content = Vec::new();
        let file = fs::File::open(self.path()).unwrap();
        file.take(SNAPSHOT_BYTES_MAX).read_to_end(&mut content).unwrap();
        let Self { generation, pos, .. } = *self;
        let key = Key::Snapshot { generation, index: pos.index };
        let start = WalPos::start_of(pos.index);
        self.store(key, &content, Kind::Snapshot, start, pos);
        key.to_string()
    }

    /// Stores what was committed. Returns the database that SQLite makes of it.
    pub(super) fn sync(&mut self) -> Vec<u8> {
        self.cut(usize::MAX);
        self.state()
    }

    /// Stores the new frames up to the last commit, or up to `bytes` bytes of them.
    pub(super) fn cut(&mut self, bytes: usize) {
        let wal = fs::read(self.path().with_file_name("db-wal")).unwrap();
        let Some(header) = self.header() else { return };
        let mut start = usize::try_from(self.pos.offset).unwrap();
        if start == 0 {
            if header.salt == self.salt {
                return;
            }
            (self.salt, self.checksum) = (header.salt, header.checksum);
            start = WalHeader::SIZE;
        }
        let mut frames = FrameReader::resume(&wal[start..], &header, self.checksum);
        let mut page = vec![0; header.page_size.bytes()];
        let mut end = start;
        let mut committed = None;
        while let Some(frame) = frames.next_frame(&mut page).unwrap() {
            end += page.len() + 24;
            let whole = frame.commit.is_some() && bytes == usize::MAX;
            if whole || end - start <= bytes && bytes < usize::MAX {
                committed = Some((end, frames.checksum()));
            }
        }
        let Some((end, checksum)) = committed else { return };
        self.checksum = checksum;
        let pos = self.pos;
        self.pos.offset = end as u64;
        let key = Key::Segment { generation: self.generation, pos };
        let content = &wal[usize::try_from(pos.offset).unwrap()..end];
        self.store(key, content, Kind::Segment, pos, self.pos);
    }

    /// Makes the next segment claim to follow another one.
    pub(super) fn forge_link(&mut self) {
        self.link = Link(99);
    }

    /// Makes the next segment be sealed with the digest of another database.
    pub(super) fn forge_digest(&mut self) {
        self.forged_digest = true;
    }

    fn store(&mut self, key: Key, content: &[u8], kind: Kind, start: WalPos, end: WalPos) {
        self.seconds += 1;
        let mut encoder = lz4::Encoder::new(Vec::new(), 0);
        encoder.write_all(content).unwrap();
        let mut object = encoder.finish().unwrap();
        if self.sealed {
            let seal = self.seal(kind, start, end);
            seal.write(&mut object).unwrap();
            if start.offset == 0 && kind == Kind::Segment {
                self.link_before_wal = seal.previous;
            }
            self.link = seal.link();
        }
        self.store.insert(key.to_string(), object, self.now());
    }

    fn seal(&self, kind: Kind, start: WalPos, end: WalPos) -> Seal {
        let state = self.state();
        let page_size = self.page_size();
        let pages = (1..).zip(state.chunks(page_size.bytes()));
        let mut digest = pages.fold(Digest::default(), |digest, (page, content)| {
            digest.with(PageDigest::of(self.generation, page, content))
        });
        if self.forged_digest {
            digest.0 ^= 1;
        }
        Seal {
            content: match kind {
                Kind::Snapshot => Content::Snapshot { predecessor: None },
                Kind::Segment => Content::Segment { checksum: self.checksum.to_bytes() },
            },
            generation: self.generation,
            start,
            end,
            page_size: page_size.get(),
            pages: u32::try_from(state.len() / page_size.bytes()).unwrap(),
            committed: self.now(),
            salt: self.salt.0,
            log: LogPlace::default(),
            digest,
            previous: match kind {
                Kind::Snapshot if start != end => self.link_before_wal,
                _ => self.link,
            },
        }
    }

    fn page_size(&self) -> PageSize {
        let sql = "PRAGMA page_size";
        PageSize::new(self.connection.query_row(sql, [], |row| row.get(0)).unwrap()).unwrap()
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("db")
    }

    fn header(&self) -> Option<WalHeader> {
        let wal = fs::read(self.path().with_file_name("db-wal")).unwrap();
        Some(WalHeader::parse(wal.first_chunk()?).unwrap())
    }

    /// What SQLite's own checkpoint makes of the database and its WAL as they are.
    fn state(&self) -> Vec<u8> {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("db");
        fs::copy(self.path(), &path).unwrap();
        fs::copy(self.path().with_file_name("db-wal"), path.with_file_name("db-wal")).unwrap();
        checkpoint(&path);
        fs::read(path).unwrap()
    }
}

fn checkpoint(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
}
