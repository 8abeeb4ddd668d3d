use std::io::Cursor;

use super::{ObjectStore, Result, StoreError};

/// Why it is there, for whoever finds one that could not be deleted.
const TEXT: &str = "litestream has stored this to find out whether the store keeps to \
                    If-None-Match. It is not needed any more.\n";

/// Finds out whether a store keeps to the condition of [`ObjectStore::create`], with an object that
/// is there for that time only. If this process dies meanwhile, it is left, and harms nobody.
pub async fn honours_conditions(store: &impl ObjectStore) -> Result<bool> {
    let key = format!("conditional-writes-{:016x}", fastrand::u64(..));
    let create = || store.create(&key, Box::new(Cursor::new(TEXT)), TEXT.len() as u64);
    let honours = async {
        let mut created = 0;
        for attempt in 0..3 {
            match create().await {
                Ok(()) if created == 0 => created += 1,
                Ok(()) => return Ok(false),
                // The first time, it is our own, of which nobody told us.
                Err(StoreError::Exists { .. }) => return Ok(true),
                // A server that says that it knows no conditions is not asked to keep one again.
                Err(StoreError::Unavailable(_)) if attempt == 0 => (),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    };
    let honours = honours.await;
    // Where nothing may be deleted, it stays.
    let _ = store.delete(std::slice::from_ref(&key)).await;
    honours
}
