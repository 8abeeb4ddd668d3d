use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::file::Neighbours;
use super::{FileStore, Location, Result, S3Location, S3Store, Store};

/// What replicas have in common: those in a bucket its connections and credentials, and those in
/// directories the file systems that may be missing.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    buckets: Arc<Mutex<Vec<Bucket>>>,
    directories: Neighbours,
}

#[derive(Clone, Debug)]
struct Bucket {
    /// The location, without a prefix.
    location: S3Location,
    store: Arc<OnceCell<S3Store>>,
    honours_conditions: Arc<OnceCell<bool>>,
}

impl Connections {
    /// Prepares access to `location`, as [`Store::open`] does. If that fails, the next call tries
    /// again.
    pub async fn open(&self, location: &Location) -> Result<Store> {
        Ok(match location {
            Location::File(root) => {
                Store::File(FileStore::beside(self.directories.clone(), root.clone()))
            }
            Location::S3(place) => {
                let Bucket { location, store, .. } = self.bucket(place);
                let store = store.get_or_try_init(|| Box::pin(S3Store::connect(&location))).await?;
                Store::S3(store.at(&place.prefix))
            }
        })
    }

    /// Whether the bucket of `location` keeps to the condition of [`super::ObjectStore::create`],
    /// as all directories do. `probe` finds it out, once for all replicas in a bucket.
    pub async fn honours_conditions<F: Future<Output = Result<bool>>>(
        &self,
        location: &Location,
        probe: impl FnOnce() -> F,
    ) -> Result<bool> {
        match location {
            Location::File(_) => Ok(true),
            Location::S3(place) => {
                self.bucket(place).honours_conditions.get_or_try_init(probe).await.copied()
            }
        }
    }

    fn bucket(&self, place: &S3Location) -> Bucket {
        let location = S3Location { prefix: String::new(), ..place.clone() };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.iter().find(|bucket| bucket.location == location) {
            return bucket.clone();
        }
        let bucket = Bucket { location, store: Arc::default(), honours_conditions: Arc::default() };
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
}
