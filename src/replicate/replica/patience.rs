use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// A request that takes longer than this, and than its bytes need, is worth a word: its time-outs
/// come after half a minute and more.
const QUIET: Duration = Duration::from_secs(5);

/// Bytes a second of a connection that nobody would call slow.
const BYTES_PER_SECOND: u64 = 1 << 20;

/// Waits for a store on behalf of a replica, and says so when it takes long.
#[derive(Debug)]
pub(super) struct Patience {
    pub(super) database: PathBuf,
    /// Of the replica.
    pub(super) name: String,
}

impl Patience {
    /// Waits for a request that carries so many bytes. `what` says what is asked for.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        bytes: u64,
        request: impl Future<Output = T> + Send,
    ) -> T {
        let began = Instant::now();
        let mut request = std::pin::pin!(request);
        let quiet = QUIET + Duration::from_secs(bytes / BYTES_PER_SECOND);
        if let Ok(answer) = timeout(quiet, &mut request).await {
            return answer;
        }
        let (db, name) = (self.database.display(), &self.name);
        let seconds = began.elapsed().as_secs();
        warn!(%db, name, what, seconds, "the store does not answer, still waiting");
        let answer = request.await;
        info!(%db, name, what, seconds = began.elapsed().as_secs(), "no longer waiting for the store");
        answer
    }
}
