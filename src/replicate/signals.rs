use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// A signal that comes this soon after the first one is the same: `timeout` sends it to the process
/// and to its group, and a terminal to all processes that it has.
const ECHO: Duration = Duration::from_millis(50);

/// The signals that ask us to end. Once we listen to them, none is lost, and none ends the process
/// by itself.
#[derive(Debug)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// `None` if we were started to ignore it, as `nohup` does.
    hangup: Option<tokio::signal::unix::Signal>,
    arrivals: Arrivals,
}

/// When signals have come.
#[derive(Debug, Default)]
struct Arrivals {
    first: Option<Instant>,
    /// How the last signal came, if it was not the first one.
    last: Option<Arrival>,
}

/// How a signal after the first one came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    Echo,
    Repeated,
}

/// Whether SIGHUP is ignored, by the mask of ignored signals in `/proc` (`proc_pid_status(5)`).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
            arrivals: Arrivals::default(),
        })
    }

    /// Waits for the next signal. Can be dropped and called again without losing one.
    ///
    /// The end of the terminal counts as a request to end.
    pub(super) async fn next(&mut self) -> Signal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let signal = tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = hangup => Signal::TERM,
        };
        self.arrivals.add(Instant::now());
        signal
    }

    /// Whether the last signal was a further one: somebody is tired of waiting.
    pub(super) fn is_repeated(&self) -> bool {
        self.arrivals.last == Some(Arrival::Repeated)
    }

    /// Whether the last signal was an echo of the first one.
    pub(super) fn is_echo(&self) -> bool {
        self.arrivals.last == Some(Arrival::Echo)
    }
}

impl Arrivals {
    fn add(&mut self, now: Instant) {
        self.last = self.first.map(|first| {
            if now.duration_since(first) > ECHO { Arrival::Repeated } else { Arrival::Echo }
        });
        self.first.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_of_the_first_signal_is_no_second_one() {
        let began = Instant::now();
        let mut arrivals = Arrivals::default();
        for (milliseconds, expected) in [
            (0, None),
            (1, Some(Arrival::Echo)),
            (50, Some(Arrival::Echo)),
            (51, Some(Arrival::Repeated)),
            (52, Some(Arrival::Repeated)),
        ] {
            arrivals.add(began + Duration::from_millis(milliseconds));
            assert_eq!(arrivals.last, expected, "{milliseconds} ms");
        }
    }
}
