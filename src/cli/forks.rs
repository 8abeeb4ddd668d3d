use tracing::warn;

use crate::catalog;
use crate::format::Generation;
use crate::store::ObjectStore;

/// Warns of the forks of a replica: they are not restored by default, and may be what the user is
/// looking for. An error is ignored here, since listing the replica shows it again.
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
