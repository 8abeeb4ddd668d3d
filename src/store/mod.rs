//! The stores of replicas: flat sets of named, immutable objects.
//!
//! Keys are text relative to the root of a replica, with `/` between their parts. One set of
//! tests, which every implementation runs, checks the contract of [`ObjectStore`]
//! (`tests/it/store.rs`).

mod conditions;
mod connections;
mod error;
mod file;
mod location;
mod quiet;
mod retrying;
mod s3;
mod url;

use std::io::Read;
use std::ops::Range;
use std::time::SystemTime;

pub use conditions::honours_conditions;
pub use connections::Connections;
pub use error::{Result, StoreError};
pub use file::{Access, FileStore};
pub use location::{Location, S3Location, Secret};
pub use quiet::{QUIET, wait};
pub use retrying::Retrying;
pub use s3::{Patience, S3Options, S3Store};
pub use url::UrlError;

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The time of creation, by the clock of the store. S3 counts in seconds, and from the *start*
    /// of a multipart upload.
    pub created: SystemTime,
}

/// A flat set of named, immutable objects.
pub trait ObjectStore: Send + Sync {
    /// Stores all that `source` yields under `key`, replacing what was there. Readers see all of
    /// it or none, and when this returns `Ok` the store has acknowledged that it is durable.
    ///
    /// Memory is bounded whatever the length of `source`. Failed parts are sent again one by one.
    /// If this returns an error, nothing was stored, and the caller must open the source again to
    /// retry. `size_max` is an upper bound of the length, from which the size of parts is chosen.
    /// An error of `source` itself ends the upload as [`StoreError::Source`].
    fn put(
        &self,
        key: &str,
        source: Box<dyn Read + Send>,
        size_max: u64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Stores as [`ObjectStore::put`] does, unless there is an object under `key`: then that
    /// object stays as it is, and the error is [`StoreError::Exists`]. It may be our own, from an
    /// attempt whose answer was lost. If two processes create the same object at the same moment,
    /// one fails.
    ///
    /// Not every S3 server supports this. One that says that it does not gets plain puts from then
    /// on.
    fn create(
        &self,
        key: &str,
        source: Box<dyn Read + Send>,
        size_max: u64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Reads exactly the bytes `range` of the object under `key`. An object that is shorter is an
    /// error.
    fn get(&self, key: &str, range: Range<u64>) -> impl Future<Output = Result<Vec<u8>>> + Send;

    /// Lists the objects whose keys begin with `prefix`, in key order.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<Object>>> + Send;

    /// Lists the names between `prefix` (which ends in `/`, or is empty) and the next `/`, sorted.
    fn list_directories(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// Deletes the objects under `keys`, in that order as far as the store allows. A key with no
    /// object is not an error.
    fn delete(&self, keys: &[String]) -> impl Future<Output = Result<()>> + Send;
}

/// The store that a [`Location`] names.
#[derive(Debug)]
pub enum Store {
    File(FileStore),
    S3(S3Store),
}

impl Store {
    /// Prepares access to `location`. Nothing is sent yet, except where credentials or the region
    /// have to be looked up.
    pub async fn open(location: &Location) -> Result<Self> {
        Connections::default().open(location).await
    }
}

impl ObjectStore for Store {
    async fn put(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        match self {
            Self::File(store) => store.put(key, source, size_max).await,
            Self::S3(store) => Box::pin(store.put(key, source, size_max)).await,
        }
    }

    async fn create(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        match self {
            Self::File(store) => store.create(key, source, size_max).await,
            Self::S3(store) => Box::pin(store.create(key, source, size_max)).await,
        }
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        match self {
            Self::File(store) => store.get(key, range).await,
            Self::S3(store) => Box::pin(store.get(key, range)).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        match self {
            Self::File(store) => store.list(prefix).await,
            Self::S3(store) => Box::pin(store.list(prefix)).await,
        }
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>> {
        match self {
            Self::File(store) => store.list_directories(prefix).await,
            Self::S3(store) => Box::pin(store.list_directories(prefix)).await,
        }
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        match self {
            Self::File(store) => store.delete(keys).await,
            Self::S3(store) => Box::pin(store.delete(keys)).await,
        }
    }
}
