use tracing::warn;

use crate::format::Key;
use crate::store::{ObjectStore, Store};

/// Says which forks a replica has: what is restored by default is none of them, and may not be what
/// somebody is looking for. An error here is one again where the replica is listed.
pub(super) async fn mention(replica: &str, store: &Store) {
    let forks = store.list_directories(Key::FORKS).await.unwrap_or_default();
    if !forks.is_empty() {
        let forks = forks.join(", ");
        warn!(
            replica,
            forks,
            "there are forks: databases that did not continue this replica. See them with -fork NAME"
        );
    }
}
