use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::{FileStore, Location, Result, S3Location, S3Store, Store};

/// How many snapshots are stored in a bucket, or in directories, at a time: each needs some memory.
const SNAPSHOTS_MAX: usize = 4;

/// The buckets that are in use: replicas in the same one share its connections and credentials.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    buckets: Arc<Mutex<Vec<Bucket>>>,
    directories: Turns,
}

/// Lets some store snapshots, and the others wait for their turn.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SNAPSHOTS_MAX)))
    }
}

impl Turns {
    /// Waits for a turn, which ends when the value is dropped.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    /// Without a prefix.
    location: S3Location,
    store: Arc<OnceCell<S3Store>>,
    turns: Turns,
}

impl Connections {
    /// Prepares access to `location`, as [`Store::open`] does. What failed is tried anew.
    pub async fn open(&self, location: &Location) -> Result<Store> {
        Ok(match location {
            Location::File(root) => Store::File(FileStore::new(root.clone())),
            Location::S3(place) => {
                let Bucket { location, store, .. } = self.bucket(place);
                let store = store.get_or_try_init(|| Box::pin(S3Store::connect(&location))).await?;
                Store::S3(store.at(&place.prefix))
            }
        })
    }

    /// Whose turn it is to store a snapshot where `location` is.
    pub fn turns(&self, location: &Location) -> Turns {
        match location {
            Location::File(_) => self.directories.clone(),
            Location::S3(place) => self.bucket(place).turns,
        }
    }

    fn bucket(&self, place: &S3Location) -> Bucket {
        let location = S3Location { prefix: String::new(), ..place.clone() };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.iter().find(|bucket| bucket.location == location) {
            return bucket.clone();
        }
        let bucket = Bucket { location, store: Arc::default(), turns: Turns::default() };
        buckets.push(bucket.clone());
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shared_within_a_bucket_and_with_the_same_keys_only() {
        let place = |bucket: &str, key: &str| S3Location {
            bucket: bucket.to_owned(),
            access_key_id: Some(key.to_owned()),
            ..S3Location::default()
        };
        let connections = Connections::default();
        let first = connections.bucket(&place("a", "k"));
        for (bucket, key, shared) in [("a", "k", true), ("b", "k", false), ("a", "l", false)] {
            let other = connections.bucket(&place(bucket, key));
            assert_eq!(Arc::ptr_eq(&first.store, &other.store), shared, "{bucket} {key}");
        }
    }

    #[tokio::test]
    async fn snapshots_take_turns_within_a_bucket() {
        let place = |bucket: &str| {
            Location::S3(S3Location { bucket: bucket.to_owned(), ..S3Location::default() })
        };
        let connections = Connections::default();
        let mut taken = Vec::new();
        for _ in 0..SNAPSHOTS_MAX {
            taken.push(connections.turns(&place("a")).take().await);
        }
        let turns = connections.turns(&place("a"));
        let next = turns.take();
        tokio::pin!(next);
        let soon = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(soon, &mut next).await.is_err());
        assert!(connections.turns(&place("b")).take().await.is_some());
        taken.pop();
        assert!(next.await.is_some());
    }
}
