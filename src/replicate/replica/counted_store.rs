use std::io::{self, Read};
use std::ops::Range;

use crate::replicate::metrics::{Metrics, Operation};
use crate::store::{Object, ObjectStore, Result, Store};

/// A store whose operations are counted. One that takes several requests counts once.
#[derive(Debug)]
pub(super) struct CountedStore {
    store: Store,
    metrics: Metrics,
}

impl CountedStore {
    pub(super) fn new(store: Store, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// Counts a put, and its bytes while they are read.
    fn counted(&self, source: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        self.count(Operation::Put, 0);
        match self.store {
            Store::S3(_) => Box::new(CountedSource { source, metrics: self.metrics.clone() }),
            Store::File(_) => source,
        }
    }

    fn count(&self, operation: Operation, bytes: u64) {
        // As Litestream, which counts no files.
        if let Store::S3(_) = self.store {
            self.metrics.count_operation("s3", operation, bytes);
        }
    }
}

impl ObjectStore for CountedStore {
    async fn put(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        self.store.put(key, self.counted(source), size_max).await
    }

    async fn create(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        self.store.create(key, self.counted(source), size_max).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.count(Operation::Get, range.end - range.start);
        self.store.get(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        self.count(Operation::List, 0);
        self.store.list(prefix).await
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>> {
        self.count(Operation::List, 0);
        self.store.list_directories(prefix).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.count(Operation::Delete, 0);
        self.store.delete(keys).await
    }
}

/// Counts what is sent while it is read.
struct CountedSource {
    source: Box<dyn Read + Send>,
    metrics: Metrics,
}

impl Read for CountedSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.metrics.count_bytes("s3", Operation::Put, read as u64);
        Ok(read)
    }
}
