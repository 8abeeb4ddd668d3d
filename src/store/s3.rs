mod client;
mod credentials;
mod deletion;
mod failure;
mod listing;
mod memory;
mod options;
mod parts;
mod tls;
mod unverified;
mod upload;
mod verdict;

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use tokio::sync::Semaphore;

pub use options::{Patience, S3Options};

use super::{Object, ObjectStore, Result, S3Location};
use failure::Operation;
use memory::Memory;
use upload::Existing;

/// The most requests to a bucket at a time, for all that share it: each has a connection. A task
/// that waits for memory does not hold one.
const REQUESTS_MAX: usize = 128;

/// Objects in a bucket of Amazon S3, or of one of the many servers that speak its protocol.
#[derive(Clone, Debug)]
pub struct S3Store {
    client: Client,
    bucket: String,
    /// What every key begins with, including the slash at its end. May be empty.
    root: String,
    /// The name of the endpoint in messages.
    endpoint: String,
    patience: Patience,
    /// How many requests may still be sent.
    requests: Arc<Semaphore>,
    memory: Memory,
    /// Whether the server has ever refused to delete several objects in one request.
    deletes_singly: Arc<AtomicBool>,
    /// Whether the server has ever refused a condition on storing an object.
    knows_no_conditions: Arc<AtomicBool>,
}

impl S3Store {
    /// Prepares access to `location` with options from the environment. Nothing is sent, except
    /// where the region of the bucket has to be looked up.
    pub async fn connect(location: &S3Location) -> Result<Self> {
        Self::connect_with(location, S3Options::from_env()).await
    }

    pub async fn connect_with(location: &S3Location, options: S3Options) -> Result<Self> {
        let (client, endpoint) = client::connect(location, &options).await?;
        Ok(Self {
            client,
            bucket: location.bucket.clone(),
            root: root_of(&location.prefix),
            endpoint: endpoint.unwrap_or_else(|| "AWS".to_owned()),
            patience: options.patience,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            memory: Memory::default(),
            deletes_singly: Arc::default(),
            knows_no_conditions: Arc::default(),
        })
    }

    /// The store at another prefix of the same bucket, over the same connections.
    #[must_use]
    pub fn at(&self, prefix: &str) -> Self {
        Self { root: root_of(prefix), ..self.clone() }
    }

    /// The key in the bucket of the object `key`.
    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    fn operation<'a>(&'a self, verb: &'static str, key: &'a str) -> Operation<'a> {
        Operation { verb, key, bucket: &self.bucket, endpoint: &self.endpoint }
    }

    async fn read_body(
        &self,
        mut output: GetObjectOutput,
        operation: Operation<'_>,
        length: usize,
    ) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while let Some(chunk) = output.body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| operation.broken_off(&error))?);
            if bytes.len() > length {
                break;
            }
        }
        if bytes.len() == length { Ok(bytes) } else { Err(operation.cut_off(bytes.len(), length)) }
    }
}

impl ObjectStore for S3Store {
    async fn put(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        self.upload(key, Existing::Replace, source, size_max).await
    }

    async fn create(&self, key: &str, source: Box<dyn Read + Send>, size_max: u64) -> Result<()> {
        let no_conditions = self.knows_no_conditions.load(Ordering::Relaxed);
        let existing = if no_conditions { Existing::Replace } else { Existing::Keep };
        self.upload(key, existing, source, size_max).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.requests.acquire().await;
        let operation = self.operation("read", key);
        let length = range.end - range.start;
        let output = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .send()
            .await
            .map_err(|error| operation.failed(&error))?;
        check_range(&output, &range).map_err(|text| operation.rejected(&text))?;
        let too_long = || operation.rejected("this machine cannot address that many bytes");
        let body =
            self.read_body(output, operation, usize::try_from(length).map_err(|_| too_long())?);
        match tokio::time::timeout(self.patience.transfer(length), body).await {
            Ok(outcome) => outcome,
            Err(_) => Err(operation.unavailable("the transfer was too slow")),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let _turn = self.requests.acquire().await;
        self.objects(prefix).await
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>> {
        let _turn = self.requests.acquire().await;
        self.directories(prefix).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let _turn = self.requests.acquire().await;
        self.delete_objects(keys).await
    }
}

fn root_of(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix => format!("{}/", prefix.trim_end_matches('/')),
    }
}

/// Checks that the server sends the requested range. Some servers ignore ranges, and an object may
/// be shorter than it ought to be.
fn check_range(output: &GetObjectOutput, range: &Range<u64>) -> Result<(), String> {
    let sent = output.content_length().unwrap_or_default();
    if i128::from(sent) != i128::from(range.end) - i128::from(range.start) {
        return Err(format!(
            "asked for the bytes {} to {}, the server has {sent} of them; the object was cut off \
             or replaced",
            range.start, range.end
        ));
    }
    let begins = format!("bytes {}-", range.start);
    let right = output.content_range().map_or(range.start == 0, |sent| sent.starts_with(&begins));
    if right { Ok(()) } else { Err("the server does not keep to the range asked for".to_owned()) }
}
