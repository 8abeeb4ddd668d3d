use std::sync::atomic::Ordering;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{Delete, Error, ObjectIdentifier};

use super::S3Store;
use crate::store::{Result, StoreError};

/// The most objects that S3 deletes in one request.
const BATCH_KEYS: usize = 1000;

impl S3Store {
    /// Deletes in the order of `keys`, except within a batch, where it is up to the server.
    pub(super) async fn delete_objects(&self, keys: &[String]) -> Result<()> {
        for batch in keys.chunks(BATCH_KEYS) {
            if batch.len() == 1
                || self.deletes_singly.load(Ordering::Relaxed)
                || !self.delete_batch(batch).await?
            {
                self.delete_singly(batch).await?;
            }
        }
        Ok(())
    }

    /// Deletes `keys` in one request. Returns `false` if the server does not know this request, or
    /// wants a checksum that the SDK does not send.
    async fn delete_batch(&self, keys: &[String]) -> Result<bool> {
        let operation = self.operation("delete", &keys[0]);
        let request = Delete::builder()
            .quiet(true)
            .set_objects(Some(keys.iter().map(|key| self.identifier(key)).collect::<Result<_>>()?))
            .build()
            .map_err(|error| operation.rejected(&error))?;
        let answer = self.client.delete_objects().bucket(&self.bucket).delete(request).send().await;
        match answer {
            Ok(output) => match output.errors().iter().find(|error| !is_absent(error)) {
                None => Ok(true),
                Some(error) => Err(operation.failed_for_key(error)),
            },
            Err(error)
                if is_unknown(error.code(), error.raw_response().map(|r| r.status().as_u16())) =>
            {
                self.deletes_singly.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(operation.failed(&error)),
        }
    }

    async fn delete_singly(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            let request = self.client.delete_object().bucket(&self.bucket).key(self.full_key(key));
            match request.send().await.map_err(|error| self.operation("delete", key).failed(&error))
            {
                Ok(_) | Err(StoreError::NotFound { .. }) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn identifier(&self, key: &str) -> Result<ObjectIdentifier> {
        ObjectIdentifier::builder()
            .key(self.full_key(key))
            .build()
            .map_err(|error| self.operation("delete", key).rejected(&error))
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error.code(), Some("NoSuchKey" | "NotFound"))
}

fn is_unknown(code: Option<&str>, status: Option<u16>) -> bool {
    matches!(code, Some("MissingContentMD5" | "NotImplemented" | "MethodNotAllowed"))
        || matches!(status, Some(405 | 501))
}
