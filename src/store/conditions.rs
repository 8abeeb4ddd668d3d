use std::io::Cursor;

use super::{ObjectStore, Result, StoreError};

/// The content of the probe. It explains why the object is there, in case it could not be deleted.
const TEXT: &str = "litestream has stored this to find out whether the store keeps to \
                    If-None-Match. It is not needed any more.\n";

/// Finds out whether a store keeps to the condition of [`ObjectStore::create`], by means of a
/// temporary object. If this process dies meanwhile, the object stays, and does no harm.
pub async fn honours_conditions(store: &impl ObjectStore) -> Result<bool> {
    let key = format!("conditional-writes-{:016x}", fastrand::u64(..));
    let create = || store.create(&key, Box::new(Cursor::new(TEXT)), TEXT.len() as u64);
    let honours = async {
        let mut created = 0;
        for attempt in 0..3 {
            match create().await {
                Ok(()) if created == 0 => created += 1,
                Ok(()) => return Ok(false),
                // On the first attempt, this is our own object, from a request whose answer was
                // lost.
                Err(StoreError::Exists { .. }) => return Ok(true),
                // The server may have said that it knows no conditions: then it gets plain puts
                // from now on.
                Err(StoreError::Unavailable(_)) if attempt == 0 => (),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    };
    let honours = honours.await;
    // The probe stays if we may not delete.
    let _ = store.delete(std::slice::from_ref(&key)).await;
    honours
}
