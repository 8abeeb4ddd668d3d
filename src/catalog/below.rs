use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::generations_below;
use crate::format::Key;
use crate::store::{ObjectStore, Result};

/// The replicas right below the root of `store`, each by the key of its own root, in no meaningful
/// order. With `deep`, directories below are searched too, but not the inside of a replica.
///
/// Sends one request for each directory that may be a replica, and another for each that turns out
/// to be none, `parallelism` at a time.
pub async fn replicas_below(
    store: &impl ObjectStore,
    deep: bool,
    parallelism: usize,
) -> Result<Vec<String>> {
    let mut replicas = Vec::new();
    let mut level = children(store, String::new()).await?;
    while !level.is_empty() {
        let looked_at = stream::iter(level).map(|root| async move {
            let prefix = format!("{root}/{}", Key::GENERATIONS);
            let is_replica = !generations_below(store, &prefix).await?.is_empty();
            Ok((root, is_replica))
        });
        let looked_at = looked_at.buffer_unordered(parallelism).try_collect::<Vec<_>>().await?;
        let mut others = Vec::new();
        for (root, is_replica) in looked_at {
            if is_replica {
                replicas.push(root);
            } else if deep {
                others.push(root);
            }
        }
        let below = stream::iter(others).map(|root| children(store, root + "/"));
        level = below.buffer_unordered(parallelism).try_concat().await?;
    }
    Ok(replicas)
}

/// The keys of the directories right below `prefix`.
async fn children(store: &impl ObjectStore, prefix: String) -> Result<Vec<String>> {
    let names = store.list_directories(&prefix).await?;
    Ok(names.into_iter().map(|name| format!("{prefix}{name}")).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::store::FileStore;

    #[tokio::test]
    async fn finds_replicas_and_looks_into_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path().to_owned());
        for root in ["a.db", "b.db", "below/c.db", "below/further/d.db", "a.db/forks/e.db"] {
            let key = format!("{root}/generations/0000000000000001/wal/1");
            store.put(&key, Box::new(Cursor::new("1")), 1).await.unwrap();
        }
        store.put("other/generations/none/1", Box::new(Cursor::new("1")), 1).await.unwrap();
        for (deep, expected) in [
            (false, vec!["a.db", "b.db"]),
            (true, vec!["a.db", "b.db", "below/c.db", "below/further/d.db"]),
        ] {
            let mut found = replicas_below(&store, deep, 2).await.unwrap();
            found.sort_unstable();
            assert_eq!(found, expected, "{deep}");
        }
    }
}
