use crate::format::{Key, Seal};
use crate::store::{ObjectStore, Result};

/// What [`Seal::at_end`] finds at the end of an object: its seal, `None` if it is Litestream's, or
/// why the seal is not to be believed.
pub type Found = std::result::Result<Option<Seal>, &'static str>;

/// Reads the end of an object that has `size` bytes.
///
/// The caller must check that the seal belongs to this object, see [`Seal::is_of`].
pub async fn seal(store: &impl ObjectStore, key: Key, size: u64) -> Result<Found> {
    let range = size.saturating_sub(Seal::SIZE as u64)..size;
    if range.is_empty() {
        return Ok(Err("it is empty"));
    }
    let tail = store.get(&key.to_string(), range).await?;
    Ok(Seal::at_end(&tail))
}
