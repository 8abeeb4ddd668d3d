use tracing::warn;

use crate::catalog;
use crate::format::Generation;
use crate::store::ObjectStore;

/// Says which forks a replica has: what is restored by default is none of them, and may not be what
/// somebody is looking for. An error here is one again where the replica is listed.
pub(super) async fn mention(replica: &str, store: &impl ObjectStore) {
    let forks = catalog::forks(store).await.unwrap_or_default();
    if !forks.is_empty() {
        let forks = forks.iter().map(Generation::to_string).collect::<Vec<_>>().join(", ");
        warn!(
            replica,
            forks,
            "there are forks: databases that did not continue this replica. See them with -fork NAME"
        );
    }
}
