use std::fmt;

use super::retry::retrying;
use crate::format::ProofRecord;
use crate::store::{self, ObjectStore, StoreError};

/// The record of what was proven about a replica does not say it any more.
#[derive(Debug)]
pub struct AlteredRecord;

impl fmt::Display for AlteredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the object {:?} is altered, or of a later version: it does not say any more what was \
             proven. Take another replica, or a moment (-timestamp)",
            ProofRecord::KEY
        )
    }
}

impl std::error::Error for AlteredRecord {}

/// What validation found out about a replica. `None` if that is nothing yet.
///
/// # Errors
///
/// The store fails, or it is an [`AlteredRecord`]: nothing is guessed from the rest of that.
pub async fn proof_record(store: &impl ObjectStore) -> anyhow::Result<Option<ProofRecord>> {
    let mut found = read(store).await?;
    if matches!(found, Some(Err(_))) {
        // It may have been replaced by a longer one after it was listed.
        found = read(store).await?;
    }
    Ok(found.transpose()?)
}

async fn read(
    store: &impl ObjectStore,
) -> store::Result<Option<Result<ProofRecord, AlteredRecord>>> {
    const KEY: &str = ProofRecord::KEY;
    let objects = retrying(KEY, || store.list(KEY)).await?;
    let Some(object) = objects.iter().find(|object| object.key == KEY) else { return Ok(None) };
    let range = 0..object.size.min(ProofRecord::BYTES_MAX);
    if range.is_empty() {
        return Ok(Some(Err(AlteredRecord)));
    }
    match retrying(KEY, || store.get(KEY, range.clone())).await {
        Ok(bytes) => Ok(Some(ProofRecord::parse(&bytes).ok_or(AlteredRecord))),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
