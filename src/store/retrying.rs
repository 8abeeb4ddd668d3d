use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Object, ObjectStore, QUIET, Result, StoreError, wait};

const ATTEMPTS_MAX: u32 = 10;
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The speed, in bytes per second, of a connection that is slow but not silent.
const BYTES_PER_SECOND: u64 = 1 << 18;

/// The store of a replica, in which failed reads are retried while that may help, but not for
/// ever: the user who waits for a restore must learn that the replica cannot be reached.
///
/// Writes are tried once: a source can be read only once, and a failed attempt may or may not have
/// stored something.
#[derive(Debug)]
pub struct Retrying<S> {
    store: S,
    /// The name of the replica in logs.
    replica: String,
    /// Whether it was logged that there is no answer, and none has come since.
    waiting: AtomicBool,
}

impl<S> Retrying<S> {
    pub fn new(replica: &str, store: S) -> Self {
        Self { store, replica: replica.to_owned(), waiting: AtomicBool::new(false) }
    }

    /// Repeats `call` while its failure may be temporary. `what` names the object or the listing
    /// in logs and in the last error. The answer has `bytes` bytes.
    async fn retry<T, F>(&self, what: &str, bytes: u64, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let replica = &self.replica;
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        for attempt in 1.. {
            let error = match self.wait(what, bytes, call()).await {
                Err(StoreError::Unavailable(error)) => error,
                outcome => return outcome,
            };
            if attempt == ATTEMPTS_MAX || begun.elapsed() >= PATIENCE {
                let error = error.context(format!("{what}: gave up after {attempt} attempts"));
                return Err(StoreError::Unavailable(error));
            }
            let error = format!("{error:#}");
            let attempts_left = ATTEMPTS_MAX - attempt;
            warn!(replica, what, attempts_left, error, "replica did not answer, will retry");
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
        unreachable!("the last attempt returns")
    }

    /// Waits for an answer, and logs it if that takes long.
    async fn wait<T>(&self, what: &str, bytes: u64, call: impl Future<Output = T>) -> T {
        let quiet = QUIET + Duration::from_secs(bytes / BYTES_PER_SECOND);
        let answer = wait(quiet, call, || {
            if !self.waiting.swap(true, Ordering::Relaxed) {
                let (replica, seconds) = (&self.replica, quiet.as_secs());
                warn!(replica, what, seconds, "the store does not answer, still waiting");
            }
        })
        .await;
        self.waiting.store(false, Ordering::Relaxed);
        answer
    }
}

impl<S: ObjectStore> ObjectStore for Retrying<S> {
    async fn put(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        self.store.put(key, source, size_max).await
    }

    async fn create(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        self.store.create(key, source, size_max).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = range.end - range.start;
        self.retry(key, bytes, || self.store.get(key, range.clone())).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        self.retry(prefix, 0, || self.store.list(prefix)).await
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>> {
        self.retry(prefix, 0, || self.store.list_directories(prefix)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.store.delete(keys).await
    }
}
