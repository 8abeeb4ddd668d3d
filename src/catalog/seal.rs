use crate::format::{Key, Seal};
use crate::store::{ObjectStore, Result};

/// What the end of an object says, as [`Seal::at_end`] gives it: its seal, nothing if it is
/// Litestream's, or why it is not to be believed.
pub type Found = std::result::Result<Option<Seal>, &'static str>;

/// Reads the end of an object that has `size` bytes.
///
/// Whether the seal is that of this object is for the caller to judge, see [`Seal::is_of`].
pub async fn seal(store: &impl ObjectStore, key: Key, size: u64) -> Result<Found> {
    let range = size.saturating_sub(Seal::SIZE as u64)..size;
    if range.is_empty() {
        return Ok(Err("it is empty"));
    }
    let tail = store.get(&key.to_string(), range).await?;
    Ok(Seal::at_end(&tail))
}
