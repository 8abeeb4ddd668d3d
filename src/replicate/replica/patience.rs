use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::store::{QUIET, wait};

/// Bytes per second of a connection that nobody would call slow.
const BYTES_PER_SECOND: u64 = 1 << 20;

/// Waits for a store on behalf of a replica, and logs it when that takes long.
#[derive(Debug)]
pub(super) struct Patience {
    pub(super) database: PathBuf,
    /// The name of the replica.
    pub(super) name: String,
}

impl Patience {
    /// Waits for a request that carries `bytes` bytes. `what` says what is asked for.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        bytes: u64,
        request: impl Future<Output = T> + Send,
    ) -> T {
        let (began, mut said) = (Instant::now(), false);
        let (db, name) = (self.database.display(), &self.name);
        let quiet = QUIET + Duration::from_secs(bytes / BYTES_PER_SECOND);
        let answer = wait(quiet, request, || {
            said = true;
            let seconds = quiet.as_secs();
            warn!(%db, name, what, seconds, "the store does not answer, still waiting");
        })
        .await;
        if said {
            let seconds = began.elapsed().as_secs();
            info!(%db, name, what, seconds, "no longer waiting for the store");
        }
        answer
    }
}
