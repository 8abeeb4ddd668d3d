use std::time::Duration;

use tokio::time::timeout;

/// A request is logged as slow if it takes longer than this, plus what its bytes need: time-outs
/// only come after half a minute or more.
pub const QUIET: Duration = Duration::from_secs(5);

/// Waits for a request, and calls `say` once if it takes longer than `quiet`.
pub async fn wait<T>(quiet: Duration, request: impl Future<Output = T>, say: impl FnOnce()) -> T {
    let mut request = std::pin::pin!(request);
    if let Ok(answer) = timeout(quiet, &mut request).await {
        return answer;
    }
    say();
    request.await
}
