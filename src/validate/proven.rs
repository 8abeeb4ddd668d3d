use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use tokio::time::Instant;

use super::course::until;
use super::segment::{Change, read};
use crate::catalog;
use crate::format::{History, Key, Seal, Segment, WalPos, lz4};
use crate::replicate::PageTable;
use crate::restore::Restored;
use crate::store::{self, ObjectStore};
use crate::wal::{PageSize, WalHeader};

/// The size of requests, large enough to contain the header of a WAL.
const PIECE_BYTES: u64 = 8 << 20;

/// A replica up to the position to which it was proven.
///
/// Of the database at that position, only the digest of each page is kept, in a file without a
/// name. With them, the next segment can be proven by the digest in its seal.
#[derive(Debug)]
pub(super) struct Proven {
    /// The seal of the last object.
    pub(super) seal: Seal,
    /// The header of the log that continues there.
    log: Option<WalHeader>,
    pages: PageTable,
    /// Where a segment is kept while it is read.
    scratch: File,
    /// What was listed of the proven part.
    pub(super) history: History,
    /// When SQLite found the database well-formed.
    pub(super) restored: Instant,
}

impl Proven {
    /// Starts from what was restored to `database`, and was `listed` before. Returns `None` if
    /// that is impossible: the objects have no seals, or are already gone.
    pub(super) async fn new(
        store: &impl ObjectStore,
        restored: &Restored,
        database: &Path,
        listed: &[History],
    ) -> anyhow::Result<Option<Self>> {
        let (generation, end) = (restored.generation, restored.position);
        let now = catalog::history(store, generation).await?;
        let Some(seal) = last_seal(store, &now, end).await? else { return Ok(None) };
        let directory = database.parent().unwrap_or(database);
        let scratch = directory.join("segment");
        let mut scratch = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&scratch)
            .with_context(|| format!("make {}", scratch.display()))?;
        let log = match end.offset {
            0 => None,
            _ => log_header(store, &now, end, &mut scratch).await?,
        };
        let (Some(page_size), true) =
            (PageSize::new(seal.page_size), end.offset == 0 || log.is_some())
        else {
            return Ok(None);
        };
        let (path, database) = (directory.join("pages"), database.to_owned());
        let build = move || {
            let image = BufReader::with_capacity(1 << 20, File::open(database)?);
            PageTable::build(&path, generation, page_size, seal.pages, image)
        };
        let pages =
            tokio::task::spawn_blocking(build).await?.context("digest what was restored")?;
        let before = listed.iter().find(|history| history.generation == generation);
        let history = before.map_or_else(|| History::new(generation, []), |of| until(of, end));
        let proven = Self { seal, log, pages, scratch, history, restored: Instant::now() };
        Ok((proven.pages.digest() == seal.digest).then_some(proven))
    }

    /// Reads a segment that was added, and checks it. An error names the object.
    ///
    /// `self` stays as it was if the segment cannot be fetched. If it is damaged, nothing after it
    /// can be proven.
    pub(super) async fn fetch(
        &mut self,
        store: &impl ObjectStore,
        segment: &Segment,
    ) -> anyhow::Result<Change> {
        let key = Key::Segment { generation: self.seal.generation, pos: segment.pos };
        fetch(store, &key, segment.size, &mut self.scratch).await?;
        let scratch = self.scratch.try_clone()?;
        let (pos, seal, log) = (segment.pos, self.seal, self.log);
        let task = move || {
            let follows = [seal.end, WalPos { offset: 0, index: seal.end.index.next()? }];
            Some(if follows.contains(&pos) {
                read(pos, &seal, log.as_ref(), BufReader::with_capacity(1 << 18, scratch))
            } else {
                let missing = Key::Segment { generation: seal.generation, pos: seal.end };
                Err(anyhow!("{missing} is missing before it"))
            })
        };
        let outcome = tokio::task::spawn_blocking(task).await?;
        outcome.context("there are no more indexes")?.with_context(|| key.to_string())
    }

    /// Applies a segment that was read. Returns `None` if the digest of the pages is not the
    /// sealed one.
    ///
    /// This does not prove the replica wrong: a restore from the middle of a log does not know the
    /// pages beyond the end of the database, which may come back within that log.
    pub(super) async fn follow(mut self, change: Change) -> anyhow::Result<Option<Self>> {
        let task = move || {
            let end = change.seal.end;
            if end.index != self.seal.end.index {
                self.pages.end_of_log()?;
            }
            for (page, digest) in change.pages {
                self.pages.set(page, digest)?;
            }
            self.pages.commit(change.seal.pages)?;
            self.pages.flush()?;
            (self.seal, self.log) = (change.seal, Some(change.log));
            Ok::<_, io::Error>(self)
        };
        let proven = tokio::task::spawn_blocking(task).await?.context("note digests")?;
        Ok((proven.pages.digest() == proven.seal.digest).then_some(proven))
    }
}

/// The seal of the newest restored object, if it has one and is still there.
pub(super) async fn newest_seal(
    store: &impl ObjectStore,
    restored: &Restored,
) -> store::Result<Option<Seal>> {
    let listed = catalog::history(store, restored.generation).await?;
    last_seal(store, &listed, restored.position).await
}

/// The seal of the last object of a history before `end`, if it ends there.
async fn last_seal(
    store: &impl ObjectStore,
    listed: &History,
    end: WalPos,
) -> store::Result<Option<Seal>> {
    let found = History { segments: until(listed, end).segments, ..listed.clone() };
    let snapshots = found.snapshots.iter().filter(|snapshot| snapshot.index <= end.index);
    let found = History { snapshots: snapshots.copied().collect(), ..found.clone() };
    let Some((key, size)) = found.newest() else { return Ok(None) };
    let seal = catalog::seal(store, key, size).await?.ok().flatten();
    Ok(seal.filter(|seal| seal.end == end))
}

/// The header of the log that `end` is in.
async fn log_header(
    store: &impl ObjectStore,
    listed: &History,
    end: WalPos,
    scratch: &mut File,
) -> anyhow::Result<Option<WalHeader>> {
    let pos = WalPos::start_of(end.index);
    let Some(first) = listed.segments.iter().find(|segment| segment.pos == pos) else {
        return Ok(None);
    };
    let key = Key::Segment { generation: listed.generation, pos };
    fetch(store, &key, first.size.min(PIECE_BYTES), scratch).await?;
    let mut header = [0; WalHeader::SIZE];
    lz4::Decoder::new(&mut *scratch).read_exact(&mut header)?;
    Ok(WalHeader::parse(&header).ok())
}

/// Writes the first `size` bytes of an object to a file.
async fn fetch(
    store: &impl ObjectStore,
    key: &Key,
    size: u64,
    file: &mut File,
) -> anyhow::Result<()> {
    let key = key.to_string();
    file.rewind()?;
    file.set_len(0)?;
    let mut start = 0;
    while start < size {
        let end = size.min(start + PIECE_BYTES);
        let piece = store.get(&key, start..end).await?;
        file.write_all(&piece).context("keep a segment while it is read")?;
        start = end;
    }
    Ok(file.rewind()?)
}
