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

/// The size of requests, and enough to find the header of a WAL in.
const PIECE_BYTES: u64 = 8 << 20;

/// A replica up to a position at which it was proven to lead to the database.
///
/// Of that database there is only the digest of each page, in a file without a name. So a segment
/// that follows can be proven without the database, by the digest that is sealed in it.
#[derive(Debug)]
pub(super) struct Proven {
    /// Of the last object.
    pub(super) seal: Seal,
    /// Of the log that goes on there.
    log: Option<WalHeader>,
    pages: PageTable,
    /// Where a segment is kept while it is read.
    scratch: File,
    /// What was listed of it.
    pub(super) history: History,
    /// When SQLite found the database well-formed.
    pub(super) restored: Instant,
}

impl Proven {
    /// What was restored to `database`, and listed before that. `None` if it cannot be gone on from
    /// there: its objects have no seals, or are gone already.
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
    /// Nothing has changed if it cannot be fetched; if it is damaged, nothing is proven behind it.
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

    /// Takes a segment that was read. `None` if the pages are not those that were sealed.
    ///
    /// That is no proof against the replica: a restore from the middle of a log knows nothing of
    /// pages beyond the end of the database, which may come back in that log.
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

/// The seal of the object that leads to what was restored, if that has one and is still there.
pub(super) async fn newest_seal(
    store: &impl ObjectStore,
    restored: &Restored,
) -> store::Result<Option<Seal>> {
    let listed = catalog::history(store, restored.generation).await?;
    last_seal(store, &listed, restored.position).await
}

/// The seal of the object that a history ends with at `end`.
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
