//! The objects of a plan, in order, read ahead in pieces.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::retry::retrying;
use crate::store::{ObjectStore, StoreError};

const PIECE_BYTES: u64 = 8 << 20;

/// What the task that waits for a restore and the thread that does it tell each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes of objects that have arrived and been taken.
    pub(super) fetched: AtomicU64,
    /// Nobody waits any more.
    stopped: AtomicBool,
}

impl Progress {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("the restore was interrupted"));
        }
        Ok(())
    }
}

/// A part of an object, small enough to hold several in memory and to be asked for again.
#[derive(Debug)]
struct Piece {
    content: Result<Vec<u8>, StoreError>,
    /// Of its object.
    last: bool,
}

/// The contents of objects, read ahead.
#[derive(Debug)]
pub(super) struct Fetch {
    pieces: mpsc::Receiver<Piece>,
    progress: Arc<Progress>,
}

impl Fetch {
    /// Begins to read `objects`, which are keys and sizes, with `parallelism` requests at a time.
    ///
    /// At most that many pieces wait in memory, and two more are being handed over. Dropping the
    /// second value ends all requests.
    pub(super) fn start<S: ObjectStore + 'static>(
        store: Arc<S>,
        objects: Vec<(String, u64)>,
        parallelism: usize,
        progress: Arc<Progress>,
    ) -> (Self, AbortOnDrop) {
        let (sender, pieces) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let ranges = objects.into_iter().flat_map(|(key, size)| {
                pieces_of(size).map(move |(range, last)| (key.clone(), range, last))
            });
            // Tasks of their own, because a stream is not polled while its consumer is busy, and
            // a store gives up a request that nobody reads from.
            let mut fetched = stream::iter(ranges)
                .map(|(key, range, last)| {
                    let task = tokio::spawn(fetch_piece(Arc::clone(&store), key, range, last));
                    joined(task)
                })
                .buffered(parallelism);
            while let Some(piece) = fetched.next().await {
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
        });
        (Self { pieces, progress }, AbortOnDrop(task.abort_handle()))
    }

    /// The next object. The one before it has to be read to its end.
    pub(super) fn next_object(&mut self) -> ObjectReader<'_> {
        ObjectReader { fetch: self, content: io::Cursor::default(), last: false }
    }
}

/// The ranges of an object, each with whether it is the last. An empty object has one, too.
fn pieces_of(size: u64) -> impl Iterator<Item = (Range<u64>, bool)> {
    let count = size.div_ceil(PIECE_BYTES).max(1);
    (0..count).map(move |piece| {
        let start = piece * PIECE_BYTES;
        (start..size.min(start + PIECE_BYTES), piece + 1 == count)
    })
}

async fn fetch_piece<S: ObjectStore>(
    store: Arc<S>,
    key: String,
    range: Range<u64>,
    last: bool,
) -> Piece {
    let content = if range.is_empty() {
        Ok(Vec::new())
    } else {
        retrying(&key, || store.get(&key, range.clone())).await
    };
    Piece { content, last }
}

fn joined(task: JoinHandle<Piece>) -> impl Future<Output = Piece> {
    let abort = AbortOnDrop(task.abort_handle());
    async move {
        let piece = task.await;
        drop(abort);
        piece.unwrap_or_else(|error| Piece {
            content: Err(StoreError::Rejected(anyhow::Error::new(error))),
            last: true,
        })
    }
}

/// Ends a task when nobody waits for it any more.
#[derive(Debug)]
pub(super) struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads one object, in a thread that may block.
#[derive(Debug)]
pub(super) struct ObjectReader<'a> {
    fetch: &'a mut Fetch,
    content: io::Cursor<Vec<u8>>,
    last: bool,
}

impl Read for ObjectReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.content.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.last {
                return Ok(read);
            }
            self.fetch.progress.check()?;
            let Some(piece) = self.fetch.pieces.blocking_recv() else {
                return Err(io::Error::other("the restore was interrupted"));
            };
            let content = piece.content.map_err(io::Error::other)?;
            self.fetch.progress.fetched.fetch_add(content.len() as u64, Ordering::Relaxed);
            self.content = io::Cursor::new(content);
            self.last = piece.last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_objects_into_pieces_that_leave_nothing_out() {
        for size in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let pieces: Vec<_> = pieces_of(size).collect();
            assert_eq!(pieces.iter().map(|(range, _)| range.end - range.start).sum::<u64>(), size);
            assert_eq!(pieces.iter().filter(|(_, last)| *last).count(), 1);
            assert!(pieces.windows(2).all(|pair| pair[0].0.end == pair[1].0.start));
            assert!(pieces.last().unwrap().1);
        }
    }
}
