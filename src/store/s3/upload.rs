use std::error::Error;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::config;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::abort_multipart_upload::builders::AbortMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::runtime::Handle;
use tracing::debug;

use super::S3Store;
use super::failure::Operation;
use super::parts::{Part, Parts, part_bytes};
use crate::store::{Result, StoreError};

/// The parts in memory at a time: those being sent, and the one being read.
const PARTS_IN_FLIGHT: usize = 3;

/// A part is given up after this many attempts, or later while other parts get through.
const PART_ATTEMPTS: u32 = 3;

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

const NOT_IMPLEMENTED: u16 = 501;

/// How long to wait for the server to drop an upload, before the error that ended it is reported.
const ABORT_MAX: Duration = Duration::from_secs(5);

/// What happens to an object that already exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    Keep,
}

impl Existing {
    /// The `If-None-Match` of a request that stores an object.
    fn condition(self) -> Option<String> {
        (self == Self::Keep).then(|| "*".to_owned())
    }
}

impl S3Store {
    pub(super) async fn upload(
        &self,
        key: &str,
        existing: Existing,
        source: Box<dyn Read + Send>,
        size_max: u64,
    ) -> Result<()> {
        let mut parts = Parts::new(source, part_bytes(size_max), size_max, &self.memory).await;
        let first = parts.next().await?.unwrap_or_default();
        match parts.next().await? {
            None => self.put_object(key, existing, first).await,
            Some(second) => self.put_parts(key, existing, vec![first, second], parts).await,
        }
    }

    async fn put_object(&self, key: &str, existing: Existing, part: Part) -> Result<()> {
        let Part { bytes, room: _room } = part;
        let operation = self.operation("store", key);
        let timeouts = self.patience.request(bytes.len() as u64);
        let _turn = self.requests.acquire().await;
        let output = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .content_length(length_header(bytes.len()))
            .body(ByteStream::from(bytes))
            .set_if_none_match(existing.condition())
            .customize()
            .config_override(with_timeouts(timeouts))
            .send()
            .await
            .map_err(|error| self.not_stored(existing, operation, &error))?;
        confirm(output.e_tag(), operation)
    }

    /// The error that an object was not stored. Notes it if the server does not know conditions,
    /// so that it is sent none again.
    fn not_stored<E>(
        &self,
        existing: Existing,
        operation: Operation<'_>,
        error: &SdkError<E, HttpResponse>,
    ) -> StoreError
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        if existing == Existing::Keep && status == Some(NOT_IMPLEMENTED) {
            self.knows_no_conditions.store(true, Ordering::Relaxed);
            return operation.unavailable("the server does not know If-None-Match");
        }
        operation.failed(error)
    }

    async fn put_parts(
        &self,
        key: &str,
        existing: Existing,
        first: Vec<Part>,
        rest: Parts,
    ) -> Result<()> {
        let upload = Multipart::begin(self, key).await?;
        let rest = stream::try_unfold(rest, |mut rest| async move {
            Ok(rest.next().await?.map(|part| (part, rest)))
        });
        let sent = stream::iter(first)
            .map(Ok)
            .chain(rest)
            .zip(stream::iter(1..))
            .map(|(part, number)| part.map(|part| upload.send(number, part)))
            .try_buffer_unordered(PARTS_IN_FLIGHT)
            .try_collect()
            .await;
        let outcome = match sent {
            Ok(parts) => upload.complete(existing, parts).await,
            Err(error) => Err(error),
        };
        upload.end(outcome.is_ok()).await;
        outcome
    }
}

/// A multipart upload that has begun. Unless it is completed, the server is asked to drop it,
/// since it takes up space there. This also happens when this value is dropped midway.
struct Multipart<'a> {
    store: &'a S3Store,
    operation: Operation<'a>,
    key: String,
    id: String,
    began: Instant,
    /// Milliseconds after `began` when a part last got through.
    progress: AtomicU64,
    abort: Option<AbortMultipartUploadFluentBuilder>,
}

impl<'a> Multipart<'a> {
    async fn begin(store: &'a S3Store, key: &'a str) -> Result<Self> {
        let operation = store.operation("store", key);
        let key = store.full_key(key);
        let _turn = store.requests.acquire().await;
        let request = store.client.create_multipart_upload().bucket(&store.bucket).key(&key);
        let output = request.send().await.map_err(|error| operation.failed(&error))?;
        let id = output
            .upload_id
            .ok_or_else(|| operation.unavailable("the server gave no name to the upload"))?;
        let abort = store.client.abort_multipart_upload();
        let abort = Some(abort.bucket(&store.bucket).key(&key).upload_id(&id));
        let (began, progress) = (Instant::now(), AtomicU64::new(0));
        Ok(Self { store, operation, key, id, began, progress, abort })
    }

    /// Sends a part, and retries while there is hope.
    async fn send(&self, number: i32, part: Part) -> Result<CompletedPart> {
        let Part { bytes, room: _room } = part;
        let length = bytes.len();
        let body = SdkBody::from(bytes);
        let mut pause = PAUSE_MIN;
        let mut attempt = 1;
        // Time spent waiting for memory before this must not count.
        let began = self.elapsed();
        loop {
            // A body of bytes in memory can always be copied, without copying the bytes.
            let copy = body.try_clone().unwrap_or_else(SdkBody::taken);
            let error = match self.send_once(number, copy, length).await {
                Err(StoreError::Unavailable(error)) => error,
                outcome => {
                    self.progress.store(self.elapsed(), Ordering::Relaxed);
                    return outcome;
                }
            };
            let progress = self.progress.load(Ordering::Relaxed).max(began);
            let still = self.elapsed().saturating_sub(progress);
            if PART_ATTEMPTS <= attempt && self.store.patience.part.as_millis() <= still.into() {
                return Err(StoreError::Unavailable(error));
            }
            debug!(key = self.key, number, attempt, error = %format!("{error:#}"), "part not stored yet");
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (2 * pause).min(PAUSE_MAX);
            attempt += 1;
        }
    }

    async fn send_once(&self, number: i32, body: SdkBody, length: usize) -> Result<CompletedPart> {
        let _turn = self.store.requests.acquire().await;
        let output = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .content_length(length_header(length))
            .body(ByteStream::new(body))
            .customize()
            .config_override(with_timeouts(self.store.patience.request(length as u64)))
            .send()
            .await
            .map_err(|error| self.operation.failed(&error))?;
        confirm(output.e_tag(), self.operation)?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(output.e_tag)
            .set_checksum_crc32(output.checksum_crc32)
            .set_checksum_crc32_c(output.checksum_crc32_c)
            .set_checksum_crc64_nvme(output.checksum_crc64_nvme)
            .set_checksum_sha1(output.checksum_sha1)
            .set_checksum_sha256(output.checksum_sha256)
            .build())
    }

    async fn complete(&self, existing: Existing, mut parts: Vec<CompletedPart>) -> Result<()> {
        parts.sort_unstable_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let _turn = self.store.requests.acquire().await;
        let output = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(parts)
            .set_if_none_match(existing.condition())
            .customize()
            .config_override(with_timeouts(self.store.patience.completion()))
            .send()
            .await
            .map_err(|error| self.store.not_stored(existing, self.operation, &error))?;
        confirm(output.e_tag(), self.operation)
    }

    async fn end(mut self, completed: bool) {
        if let Some(abort) = self.abort.take()
            && !completed
        {
            tokio::time::timeout(ABORT_MAX, abort.send()).await.ok();
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Multipart<'_> {
    fn drop(&mut self) {
        if let (Some(abort), Ok(runtime)) = (self.abort.take(), Handle::try_current()) {
            runtime.spawn(abort.send());
        }
    }
}

/// Checks for an ETag. A server, or a proxy in front of it, may answer 200 to a request that it
/// has not understood.
fn confirm(tag: Option<&str>, operation: Operation<'_>) -> Result<()> {
    match tag {
        Some(tag) if !tag.is_empty() => Ok(()),
        _ => Err(operation.unavailable("the server did not confirm it with an ETag")),
    }
}

fn with_timeouts(timeouts: TimeoutConfig) -> config::Builder {
    config::Builder::new().timeout_config(timeouts)
}

fn length_header(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
