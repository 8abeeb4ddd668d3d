//! The contents of the objects of a plan, decoded ahead.
//!
//! Blocks of LZ4 are independent of each other, so several threads decode them. The threads take
//! turns reading the next block, in order, and promise its content; then each decodes its block
//! while another reads. So memory never holds more than one block for each thread and its decoded
//! content, whatever the objects hold.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::fetch::Fetch;
use crate::format::lz4::{Block, Blocks, Buffer, ContentCheck, End, ObjectContent, Part};

/// More threads gain nothing: what they decode has to be written in order.
const THREADS_MAX: usize = 4;

/// How many promises may wait. Only ends of objects can use this up, since they take no buffer.
const NOTED_MAX: usize = 16;

/// A decoded part of an object.
enum Decoded {
    Content(Buffer),
    End(End),
}

/// Receives a part once it is decoded.
type Promise = Receiver<io::Result<Decoded>>;

/// The contents of objects, in order.
#[derive(Debug)]
pub(super) struct Contents {
    promises: Receiver<Promise>,
    free: Sender<Buffer>,
}

impl Contents {
    /// Begins to decode `objects` objects with `threads` threads, which must not be 0.
    ///
    /// The threads end when this value is dropped and the objects are no longer fetched.
    pub(super) fn decode(fetch: Fetch, objects: usize, threads: usize) -> io::Result<Self> {
        let (promising, promises) = sync_channel(NOTED_MAX);
        let (free, buffers) = channel();
        // One buffer more than threads, which is being read from.
        for _ in 0..=threads {
            let _ = free.send(Buffer::default());
        }
        let blocks = Blocks::default();
        let source = Arc::new(Mutex::new(Source { fetch, objects, blocks, buffers, promising }));
        for _ in 0..threads {
            let source = Arc::clone(&source);
            thread::Builder::new().name("decode".to_owned()).spawn(move || decode(&source))?;
        }
        Ok(Self { promises, free })
    }

    /// The next object. The one before it must have been read to its end.
    pub(super) fn next_object(&mut self) -> ContentReader<'_> {
        ContentReader {
            contents: self,
            content: None,
            consumed: 0,
            check: ContentCheck::default(),
            skipped: None,
            failed: false,
        }
    }
}

/// How many threads decode when up to `parallelism` requests are sent at a time. One core is left
/// to the thread that takes what they decode.
pub(super) fn threads(parallelism: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores - 1).min(parallelism).clamp(1, THREADS_MAX)
}

/// Where blocks are taken from, by one thread at a time.
struct Source {
    fetch: Fetch,
    /// How many objects have not been read to their end.
    objects: usize,
    /// The blocks of the first of these objects.
    blocks: Blocks,
    buffers: Receiver<Buffer>,
    promising: SyncSender<Promise>,
}

/// Decodes one block after another, until none is left or nobody reads them any more.
fn decode(source: &Mutex<Source>) {
    let mut block = Block::default();
    loop {
        // After a panic in another thread, its broken promise tells the reader.
        let Ok(Some((mut buffer, promised))) =
            source.lock().map(|mut source| source.take(&mut block))
        else {
            return;
        };
        let decoded = block.decode(&mut buffer).map(|()| Decoded::Content(buffer));
        let _ = promised.send(decoded);
    }
}

impl Source {
    /// Reads the next block, and promises its content. Returns `None` if there are no more.
    fn take(&mut self, block: &mut Block) -> Option<(Buffer, Sender<io::Result<Decoded>>)> {
        let buffer = self.buffers.recv().ok()?;
        while self.objects > 0 {
            let part = self.blocks.next(&mut self.fetch, block);
            let (promised, promise) = channel();
            self.promising.send(promise).ok()?;
            match part {
                Ok(Part::Block) => return Some((buffer, promised)),
                Ok(Part::End(end)) => {
                    self.objects -= 1;
                    self.blocks = Blocks::default();
                    self.fetch.begin_object();
                    let _ = promised.send(Ok(Decoded::End(end)));
                }
                Err(error) => {
                    self.objects = 0;
                    let _ = promised.send(Err(error));
                }
            }
        }
        None
    }
}

/// Reads the content of one object.
#[derive(Debug)]
pub(super) struct ContentReader<'a> {
    contents: &'a mut Contents,
    content: Option<Buffer>,
    /// How many bytes of `content` were read.
    consumed: usize,
    check: ContentCheck,
    /// The kept skippable frames, once the end has been reached.
    skipped: Option<Vec<Vec<u8>>>,
    /// Whether there was an error. What the threads decode after it is not the next part.
    failed: bool,
}

impl ContentReader<'_> {
    /// Receives the next block, if nothing is left of the last one.
    fn advance(&mut self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("it could not be read to its end"));
        }
        while self.rest().is_empty() && self.skipped.is_none() {
            if let Some(buffer) = self.content.take() {
                // This fails if the threads have ended, which then need no buffers.
                let _ = self.contents.free.send(buffer);
            }
            let ended = |_| io::Error::other("a thread that decodes has ended too early");
            let promise = self.contents.promises.recv().map_err(ended)?;
            match promise.recv().map_err(ended)?? {
                Decoded::Content(content) => {
                    self.check.update(content.as_slice());
                    (self.content, self.consumed) = (Some(content), 0);
                }
                Decoded::End(end) => {
                    self.check.finish(&end)?;
                    self.skipped = Some(end.skipped);
                }
            }
        }
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        self.content.as_ref().map_or(&[], |content| &content.as_slice()[self.consumed..])
    }
}

impl BufRead for ContentReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let advanced = self.advance();
        self.failed |= advanced.is_err();
        advanced?;
        Ok(self.rest())
    }

    fn consume(&mut self, amount: usize) {
        self.consumed += amount;
    }
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl ObjectContent for ContentReader<'_> {
    fn skipped(&self) -> &[Vec<u8>] {
        self.skipped.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::super::fetch::Fetched;
    use super::*;
    use crate::format::lz4::{Encoder, write_skippable};
    use crate::store::FileStore;

    /// An object of several blocks with `count` numbers, followed by `count` in a skippable frame.
    fn object(count: u32) -> Vec<u8> {
        // Blocks of 64 KiB.
        let mut encoder = Encoder::new(Vec::new(), 0);
        encoder.write_all(&content(count)).unwrap();
        let mut object = encoder.finish().unwrap();
        write_skippable(&mut object, &count.to_le_bytes()).unwrap();
        object
    }

    fn content(count: u32) -> Vec<u8> {
        (0..count).flat_map(u32::to_le_bytes).collect()
    }

    /// Does `work` with the contents of these objects.
    fn with<T>(objects: &[Vec<u8>], threads: usize, work: impl FnOnce(&mut Contents) -> T) -> T {
        let directory = tempfile::tempdir().unwrap();
        let mut keys = Vec::new();
        for (number, object) in objects.iter().enumerate() {
            let key = number.to_string();
            fs::write(directory.path().join(&key), object).unwrap();
            keys.push((key, object.len() as u64));
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        let store = Arc::new(FileStore::new(directory.path().to_owned()));
        let (fetch, _requests) = Fetch::start(store, keys, 4, Arc::new(Fetched::default()));
        work(&mut Contents::decode(fetch, objects.len(), threads).unwrap())
    }

    #[test]
    fn gives_each_object_in_order_with_what_is_behind_it() {
        let counts = [300_000, 0, 1, 16_384, 16_385, 500_000, 7];
        let objects: Vec<Vec<u8>> = counts.into_iter().map(object).collect();
        for threads in 1..=4 {
            with(&objects, threads, |contents| {
                for count in counts {
                    let mut reader = contents.next_object();
                    let mut found = Vec::new();
                    reader.read_to_end(&mut found).unwrap();
                    assert!(found == content(count), "{count} with {threads} threads");
                    assert_eq!(reader.skipped(), [count.to_le_bytes().to_vec()]);
                }
            });
        }
    }

    #[test]
    fn gives_what_is_before_a_damage_and_then_the_error() {
        let mut damaged = object(500_000);
        damaged.truncate(1_000_000);
        let objects = [object(100_000), damaged, object(3)];
        for threads in 1..=4 {
            with(&objects, threads, |contents| {
                let mut found = Vec::new();
                contents.next_object().read_to_end(&mut found).unwrap();
                assert!(found == content(100_000));
                let mut reader = contents.next_object();
                let error = reader.read_to_end(&mut found).unwrap_err();
                assert_eq!(error.to_string(), "it is cut short");
                assert!(reader.skipped().is_empty());
                assert!(reader.fill_buf().is_err(), "it is not at its end");
            });
        }
    }

    /// The checksum of a whole object is only known to be wrong at its end.
    #[test]
    fn compares_the_checksum_of_the_content() {
        let noise: Vec<u8> =
            (0..200_000_u32).flat_map(|at| at.wrapping_mul(at).to_le_bytes()).collect();
        let mut encoder = Encoder::new(Vec::new(), 0);
        encoder.write_all(&noise).unwrap();
        let mut damaged = encoder.finish().unwrap();
        let at = damaged.len() - 2;
        damaged[at] ^= 1;
        with(&[damaged], 2, |contents| {
            let error = contents.next_object().read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "the checksum of its content is wrong");
        });
    }

    #[test]
    fn ends_when_nobody_reads_on() {
        let objects = [object(5_000_000), object(1)];
        with(&objects, 3, |contents| {
            assert!(!contents.next_object().fill_buf().unwrap().is_empty());
        });
    }
}
