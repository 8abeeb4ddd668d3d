use tokio::signal::unix::{SignalKind, signal};

use super::output;

/// Does `work`, and drops it when a signal asks the process to end.
///
/// So what `work` holds is cleaned up. And process 1 of a container would not end at all
/// otherwise: the system's default handling of signals does not apply to it.
pub(super) async fn until_interrupted(
    work: impl Future<Output = anyhow::Result<u8>>,
) -> anyhow::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let kind = tokio::select! {
        status = work => return status,
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
    };
    output::print_error("interrupted");
    Ok(128 + u8::try_from(kind.as_raw_value())?)
}
