use std::time::{Duration, Instant};

use tracing::warn;

use crate::store::{self, StoreError};

const ATTEMPTS_MAX: u32 = 10;
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Calls until it succeeds, while trying again may help, but not for ever: whoever waits for a
/// restore has to be told that the replica cannot be reached.
///
/// `what` names the object or the listing in logs and in the last error.
pub(crate) async fn retrying<T, F>(what: &str, call: impl Fn() -> F) -> store::Result<T>
where
    F: Future<Output = store::Result<T>>,
{
    let begun = Instant::now();
    let mut pause = PAUSE_MIN;
    for attempt in 1.. {
        let error = match call().await {
            Err(StoreError::Unavailable(error)) => error,
            outcome => return outcome,
        };
        if attempt == ATTEMPTS_MAX || begun.elapsed() >= PATIENCE {
            let error = error.context(format!("{what}: gave up after {attempt} attempts"));
            return Err(StoreError::Unavailable(error));
        }
        warn!(what, attempt, error = format!("{error:#}"), "replica did not answer, will retry");
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
    unreachable!("the last attempt returns")
}
