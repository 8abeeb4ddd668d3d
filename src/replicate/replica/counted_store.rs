use std::io::{self, Read};
use std::ops::Range;

use super::patience::Patience;
use crate::format::Key;
use crate::replicate::metrics::{Metrics, Operation};
use crate::store::{Object, ObjectStore, Result, Store};

/// A replica's part of a store. Its operations are counted, and long waits for them are logged. An
/// operation that takes several requests counts once.
#[derive(Debug)]
pub(super) struct CountedStore {
    store: Store,
    /// What every key in the store begins with: nothing, unless the replica is a fork.
    root: String,
    metrics: Metrics,
    patience: Patience,
}

impl CountedStore {
    pub(super) fn new(store: Store, root: String, metrics: Metrics, patience: Patience) -> Self {
        Self { store, root, metrics, patience }
    }

    /// Goes on below another root.
    pub(super) fn move_to(&mut self, root: String) {
        self.root = root;
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// Counts a put, and its bytes while they are read.
    fn counted(&self, source: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        self.count(Operation::Put, 0);
        match self.store {
            Store::S3(_) => Box::new(CountedSource { source, metrics: self.metrics.clone() }),
            Store::File(_) => source,
        }
    }

    /// Removes what was left in a directory by processes that died.
    pub(super) async fn remove_left_overs(&self) -> Result<()> {
        match &self.store {
            Store::File(store) => {
                let (root, prefix) = (self.root.clone(), self.full_key(Key::GENERATIONS));
                let key = move |key: &str| key.strip_prefix(&root)?.parse::<Key>().ok();
                store.remove_left_overs(prefix, move |found| key(found).is_some()).await
            }
            Store::S3(_) => Ok(()),
        }
    }

    fn count(&self, operation: Operation, bytes: u64) {
        // Litestream does not count operations on files either.
        if let Store::S3(_) = self.store {
            self.metrics.count_operation("s3", operation, bytes);
        }
    }
}

impl ObjectStore for CountedStore {
    async fn put(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        let key = self.full_key(key);
        let put = self.store.put(&key, self.counted(source), size_max);
        self.patience.wait(&key, size_max, put).await
    }

    async fn create(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        let key = self.full_key(key);
        let create = self.store.create(&key, self.counted(source), size_max);
        self.patience.wait(&key, size_max, create).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = range.end - range.start;
        self.count(Operation::Get, bytes);
        self.patience.wait(key, bytes, self.store.get(&self.full_key(key), range)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        self.count(Operation::List, 0);
        let objects =
            self.patience.wait(prefix, 0, self.store.list(&self.full_key(prefix))).await?;
        let below = |object: Object| {
            let key = object.key.strip_prefix(&self.root)?.to_owned();
            Some(Object { key, ..object })
        };
        Ok(objects.into_iter().filter_map(below).collect())
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>> {
        self.count(Operation::List, 0);
        let prefix = self.full_key(prefix);
        self.patience.wait(&prefix, 0, self.store.list_directories(&prefix)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.count(Operation::Delete, 0);
        let keys: Vec<String> = keys.iter().map(|key| self.full_key(key)).collect();
        self.patience.wait("deletion", 0, self.store.delete(&keys)).await
    }
}

/// Counts the bytes that are sent while they are read.
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
