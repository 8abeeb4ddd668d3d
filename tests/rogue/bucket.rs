use std::sync::{Arc, Mutex};

use futures_util::stream::StreamExt;
use hyper::body::Bytes;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput,
    PutObjectOutput, StreamingBlob, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::contents::{Contents, Object, Refused};

/// The operations of S3 on the contents in memory.
#[derive(Clone, Debug)]
pub(super) struct Bucket(pub(super) Arc<Mutex<Contents>>);

impl Bucket {
    fn with<T>(&self, look: impl FnOnce(&mut Contents) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// An object as far as it can be read.
    fn readable(&self, key: &str) -> S3Result<Object> {
        self.with(|contents| {
            let mut object = contents.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))?;
            let readable = contents.habits.readable.unwrap_or(u64::MAX);
            let length = usize::try_from(readable).unwrap_or(usize::MAX).min(object.bytes.len());
            object.bytes.truncate(length);
            Ok(object)
        })
    }
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn head_bucket(
        &self,
        _: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = read(input.body).await?;
        let new = must_be_new(input.if_none_match.as_ref());
        let object = self.with(|contents| contents.put(&input.key, bytes, new)).map_err(error)?;
        let tag = ETag::Strong(object.tag.clone());
        let e_tag = Some(tag).filter(|_| !self.with(|contents| contents.habits.gives_no_tags));
        Ok(S3Response::new(PutObjectOutput { e_tag, ..PutObjectOutput::default() }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let object = self.readable(&input.key)?;
        let all = object.bytes.len();
        let (bytes, content_range) = match input.range {
            None => (object.bytes.clone(), None),
            Some(range) => {
                let range = range.check(all as u64).map_err(|_| s3_error!(InvalidRange))?;
                let text = format!("bytes {}-{}/{all}", range.start, range.end - 1);
                let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
                (object.bytes.slice(start..end), Some(text))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(bytes.len()).ok(),
            content_range,
            body: Some(StreamingBlob::from(Body::from(bytes))),
            e_tag: Some(ETag::Strong(object.tag.clone())),
            last_modified: Some(Timestamp::from(object.modified)),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.readable(&request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(object.bytes.len()).ok(),
            e_tag: Some(ETag::Strong(object.tag.clone())),
            last_modified: Some(Timestamp::from(object.modified)),
            ..HeadObjectOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        Ok(S3Response::new(self.with(|contents| contents.list(&request.input))))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.with(|contents| contents.delete(&request.input.key));
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let keys = request.input.delete.objects.into_iter().map(|object| object.key);
        let deleted = self.with(|contents| {
            keys.map(|key| {
                contents.delete(&key);
                DeletedObject { key: Some(key), ..DeletedObject::default() }
            })
            .collect()
        });
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = request.input;
        let id = self.with(|contents| contents.begin_upload(&key));
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { body, upload_id, part_number, .. } = request.input;
        let bytes = read(body).await?;
        let stored = self.with(|contents| contents.put_part(&upload_id, part_number, bytes));
        stored.map_err(error)?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(format!("part-{part_number}"))),
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let new = must_be_new(input.if_none_match.as_ref());
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let numbers: Vec<i32> = parts.iter().filter_map(|part| part.part_number).collect();
        let object = self
            .with(|contents| contents.complete_upload(&input.upload_id, &numbers, new))
            .map_err(error)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(object.tag.clone())),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.with(|contents| contents.abort_upload(&request.input.upload_id)).map_err(error)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

fn must_be_new(condition: Option<&ETagCondition>) -> bool {
    condition.is_some_and(ETagCondition::is_any)
}

async fn read(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = Vec::new();
    if let Some(mut body) = body {
        while let Some(chunk) = body.next().await {
            let chunk =
                chunk.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?;
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(bytes.into())
}

fn error(refused: Refused) -> S3Error {
    match refused {
        Refused::Exists => s3_error!(PreconditionFailed),
        Refused::NoSuchUpload => s3_error!(NoSuchUpload),
        Refused::NoSuchPart => s3_error!(InvalidPart),
    }
}
