use std::fmt;

use crate::format::ProofRecord;
use crate::store::{ObjectStore, Result, StoreError};

/// The record of what was proven about a replica is altered, or of a later version.
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

/// A record that was found, or the fact that there is one that is altered: nothing is guessed from
/// what is left of it.
pub type FoundRecord = std::result::Result<ProofRecord, AlteredRecord>;

/// What validation found out about a replica. `None` if there is no record yet.
///
/// A record that is listed but cannot be read is an error, not `None`: it may say that the
/// database is damaged, and so that nothing may be deleted.
pub async fn proof_record(store: &impl ObjectStore) -> Result<Option<FoundRecord>> {
    match read(store).await {
        // It may have been replaced by a longer one, or deleted, after it was listed.
        Ok(Some(Err(AlteredRecord))) | Err(StoreError::NotFound { .. }) => read(store).await,
        outcome => outcome,
    }
}

async fn read(store: &impl ObjectStore) -> Result<Option<FoundRecord>> {
    const KEY: &str = ProofRecord::KEY;
    let objects = store.list(KEY).await?;
    let Some(object) = objects.iter().find(|object| object.key == KEY) else { return Ok(None) };
    let range = 0..object.size.min(ProofRecord::BYTES_MAX);
    if range.is_empty() {
        return Ok(Some(Err(AlteredRecord)));
    }
    let bytes = store.get(KEY, range).await?;
    Ok(Some(ProofRecord::parse(&bytes).ok_or(AlteredRecord)))
}
