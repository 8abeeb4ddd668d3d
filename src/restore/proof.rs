use super::retry::retrying;
use crate::format::Proof;
use crate::store::{self, ObjectStore, StoreError};

/// What was proven last about a replica. `None` if nothing was, or it cannot be read any more.
pub async fn proof(store: &impl ObjectStore) -> store::Result<Option<Proof>> {
    let objects = retrying(Proof::KEY, || store.list(Proof::KEY)).await?;
    let Some(object) = objects.iter().find(|object| object.key == Proof::KEY) else {
        return Ok(None);
    };
    let range = 0..object.size.min(Proof::BYTES_MAX);
    match retrying(Proof::KEY, || store.get(Proof::KEY, range.clone())).await {
        Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(Proof::parse)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
