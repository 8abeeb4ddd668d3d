//! Reads the objects of a plan ahead, in order and in pieces.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use crate::store::{ObjectStore, StoreError};

/// The most bytes that one request asks for, and so the memory for each: less costs a server more
/// requests, more costs us memory. A failed request is sent again for its own piece only.
const PIECE_BYTES: u64 = 2 << 20;

/// What the task that waits for a restore and the thread that does it share.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// Bytes of objects that have arrived and been taken.
    bytes: AtomicU64,
    /// Whether the restore was cancelled: nobody waits for it any more.
    stopped: AtomicBool,
}

impl Fetched {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

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
    content: oneshot::Receiver<Result<Vec<u8>, StoreError>>,
    /// Whether this is the last piece of its object.
    last: bool,
    /// The permit to be in memory.
    _permit: OwnedSemaphorePermit,
}

/// The contents of objects, read ahead.
#[derive(Debug)]
pub(super) struct Fetch {
    pieces: mpsc::Receiver<Piece>,
    fetched: Arc<Fetched>,
    /// What is left of the current piece.
    content: io::Cursor<Vec<u8>>,
    /// Whether the current piece is the last one of its object.
    last: bool,
}

impl Fetch {
    /// Begins to read `objects`, which are keys and sizes, with up to `parallelism` requests at a
    /// time, and as many pieces in memory besides the one that is being read.
    ///
    /// Dropping the second value cancels all requests.
    pub(super) fn start<S: ObjectStore + 'static>(
        store: Arc<S>,
        objects: Vec<(String, u64)>,
        parallelism: usize,
        fetched: Arc<Fetched>,
    ) -> (Self, AbortOnDrop) {
        let (sender, pieces) = mpsc::channel(parallelism);
        let task = tokio::spawn(request(store, objects, parallelism, sender));
        let fetch = Self { pieces, fetched, content: io::Cursor::default(), last: false };
        (fetch, AbortOnDrop(task.abort_handle()))
    }

    /// Goes on to the next object. The one before it must have been read to its end.
    pub(super) fn begin_object(&mut self) {
        self.last = false;
    }
}

/// The ranges of the pieces of an object, each with whether it is the last. An empty object has
/// one piece, too.
fn pieces_of(size: u64) -> impl Iterator<Item = (Range<u64>, bool)> {
    let count = size.div_ceil(PIECE_BYTES).max(1);
    (0..count).map(move |piece| {
        let start = piece * PIECE_BYTES;
        (start..size.min(start + PIECE_BYTES), piece + 1 == count)
    })
}

/// Requests all pieces in order, each as soon as one more may be in memory.
async fn request<S: ObjectStore + 'static>(
    store: Arc<S>,
    objects: Vec<(String, u64)>,
    parallelism: usize,
    pieces: mpsc::Sender<Piece>,
) {
    let memory = Arc::new(Semaphore::new(parallelism));
    // Separate tasks, because a store gives up a request that nobody reads from. They end with
    // this one.
    let mut requests = JoinSet::new();
    for (key, size) in objects {
        for (range, last) in pieces_of(size) {
            let Ok(permit) = Arc::clone(&memory).acquire_owned().await else { return };
            let (sender, content) = oneshot::channel();
            let (store, key) = (Arc::clone(&store), key.clone());
            requests.spawn(async move {
                let _ = sender.send(store.get(&key, range).await);
            });
            while requests.try_join_next().is_some() {}
            if pieces.send(Piece { content, last, _permit: permit }).await.is_err() {
                return;
            }
        }
    }
    while requests.join_next().await.is_some() {}
}

/// Cancels a task when nobody waits for it any more.
#[derive(Debug)]
pub(super) struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads one object, in a thread that may block.
impl Read for Fetch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.content.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.last {
                return Ok(read);
            }
            self.fetched.check()?;
            self.content = io::Cursor::default();
            let interrupted = || io::Error::other("the restore was interrupted");
            let piece = self.pieces.blocking_recv().ok_or_else(interrupted)?;
            let content = piece.content.blocking_recv().map_err(|_| interrupted())?;
            let content = content.map_err(io::Error::other)?;
            self.fetched.bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
            self.content = io::Cursor::new(content);
            self.last = piece.last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

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

    /// A store that has every object, of any size, and counts the bytes that were read.
    #[derive(Default)]
    struct Zeros {
        bytes: AtomicU64,
    }

    impl ObjectStore for Zeros {
        async fn get(&self, _: &str, range: Range<u64>) -> store::Result<Vec<u8>> {
            let length = range.end - range.start;
            self.bytes.fetch_add(length, Ordering::SeqCst);
            Ok(vec![0; usize::try_from(length).unwrap()])
        }

        async fn put(&self, _: &str, _: Box<dyn Read + Send>, _: u64) -> store::Result<()> {
            unreachable!()
        }

        async fn create(&self, _: &str, _: Box<dyn Read + Send>, _: u64) -> store::Result<()> {
            unreachable!()
        }

        async fn list(&self, _: &str) -> store::Result<Vec<store::Object>> {
            unreachable!()
        }

        async fn list_directories(&self, _: &str) -> store::Result<Vec<String>> {
            unreachable!()
        }

        async fn delete(&self, _: &[String]) -> store::Result<()> {
            unreachable!()
        }
    }

    /// Holding 8 MiB for each request, and twice that while the first is awaited, would take 150
    /// MB if the store is fast.
    #[test]
    fn reads_ahead_only_so_many_bytes_of_large_objects_and_of_small_ones() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        for parallelism in [1, 2, 5] {
            let ahead_max = (parallelism as u64 + 1) * PIECE_BYTES;
            let mut sizes = vec![20 * PIECE_BYTES + 1, 0, PIECE_BYTES];
            sizes.extend([1000; 200]);
            let objects = sizes.iter().map(|&size| (String::new(), size)).collect();
            let store = Arc::new(Zeros::default());
            let fetched = Arc::new(Fetched::default());
            let (mut fetch, _requests) =
                Fetch::start(Arc::clone(&store), objects, parallelism, Arc::clone(&fetched));
            let mut buffer = vec![0; 1 << 16];
            for size in sizes {
                fetch.begin_object();
                let mut read = 0;
                loop {
                    let ahead = store.bytes.load(Ordering::SeqCst) - fetched.bytes();
                    assert!(ahead <= ahead_max, "{ahead} bytes with {parallelism} requests");
                    match fetch.read(&mut buffer).unwrap() {
                        0 => break,
                        more => read += more as u64,
                    }
                }
                assert_eq!(read, size);
            }
        }
    }
}
