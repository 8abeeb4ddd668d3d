use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// The signals that ask us to end. From when they are listened to, none is lost, and none ends the
/// process by itself.
#[derive(Debug)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    count: u32,
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            count: 0,
        })
    }

    /// The next of them. Can be dropped and called again without losing one.
    pub(super) async fn next(&mut self) -> Signal {
        let signal = tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        };
        self.count += 1;
        signal
    }

    /// Whether the last one was not the first: somebody is tired of waiting.
    pub(super) fn is_repeated(&self) -> bool {
        self.count > 1
    }
}
