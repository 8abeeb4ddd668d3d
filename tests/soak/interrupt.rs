use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rustix::process::Signal;

use crate::case::{Case, NOT_ALL, STOP_MAX, last_lines};
use crate::process::Process;

/// Exit code: a second signal came before everything was replicated.
pub(crate) const INTERRUPTED: i32 = 130;

/// How the daemon reports, at its end, that not everything is replicated.
pub(crate) const LACK: &str = "error: not everything is replicated";
const FIRST: &str = "signal received, ";
/// How the daemon logs the second signal, unless it ended otherwise before.
pub(crate) const SECOND: &str = "second signal received, ";

/// How long it may take to end after that, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);
/// After this time the second signal is sent again: it may have been merged with the first.
const AGAIN: Duration = Duration::from_secs(5);

impl Case {
    /// Signals the daemon twice, as an impatient user does.
    ///
    /// It must end at once and report what is missing, unless everything is there.
    pub(crate) fn interrupt_daemon(&mut self) -> anyhow::Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        self.expect_signals_to_work(&mut daemon)?;
        let place = self.record()?.last_commit();
        let status = self.signal_twice(&mut daemon)?;
        self.take_leave(&daemon)?;
        let said = daemon.said();
        match (status, said.contains(LACK)) {
            (0, false) => self.acknowledge(place),
            (INTERRUPTED, true) if said.contains(SECOND) => (),
            (NOT_ALL, true) if !said.contains(SECOND) && self.may_lack_something() => (),
            _ => bail!("the daemon ended with {status}: {}", last_lines(&said)),
        }
        Ok(())
    }

    /// Sends two signals, some time apart, and returns the exit code.
    pub(crate) fn signal_twice(&mut self, daemon: &mut Process) -> anyhow::Result<i32> {
        let signals = [(); 2].map(|()| self.any_signal());
        // Two of the same kind may be merged, until the first is noticed.
        let waits = self.random.bool();
        let longest = [0, 20, 300, 4000][self.random.usize(..4)];
        let distance = self.random.u64(..=longest);
        self.note(&format!("{signals:?}, {distance} ms apart, waits: {waits}"))?;
        daemon.signal(signals[0])?;
        let began = Instant::now();
        while waits && !daemon.said().contains(FIRST) && daemon.ended()?.is_none() {
            ensure!(began.elapsed() < STOP_MAX, "a signal was not noticed");
            sleep(Duration::from_millis(2));
        }
        sleep(Duration::from_millis(distance));
        let mut began = Instant::now();
        while daemon.ended()?.is_none() && !daemon.said().contains(SECOND) {
            began = Instant::now();
            daemon.signal(signals[1])?;
            while began.elapsed() < AGAIN && daemon.ended()?.is_none() {
                sleep(Duration::from_millis(2));
            }
        }
        let status = daemon.wait(STOP_MAX)?;
        let took = began.elapsed();
        self.note(&format!("the daemon ended with {status}, {took:?} after the second signal"))?;
        if daemon.said().contains(SECOND) {
            ensure!(took < AT_ONCE, "it took {took:?} to end after a second signal");
            self.counts.slowest_interruption = self.counts.slowest_interruption.max(took);
        }
        Ok(status)
    }

    pub(crate) fn any_signal(&mut self) -> Signal {
        [Signal::TERM, Signal::INT][self.random.usize(..2)]
    }
}
