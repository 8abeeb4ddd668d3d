//! The progress of a restore or a verification, in one line of a terminal that is redrawn.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::restore::{Progress, Reporting};

/// Goes to the start of the line, and clears it.
const CLEAR: &str = "\r\x1b[2K";

const INTERVAL: Duration = Duration::from_millis(200);

/// Characters of the bar itself. The whole line fits into a terminal of 80 columns.
const WIDTH: u64 = 20;

/// Whether the last line of the terminal is a bar. Locked while anything is written there, so that
/// a log line never follows a bar on the same line.
static DRAWN: Mutex<bool> = Mutex::new(false);

/// A bar on the terminal of standard error. Its line is cleared on drop.
#[derive(Debug)]
pub(super) struct ProgressBar;

impl ProgressBar {
    pub(super) const RESTORING: Reporting = Reporting {
        interval: INTERVAL,
        report: |progress| draw("restoring", &progress),
        announced: true,
    };

    pub(super) const VERIFYING: Reporting = Reporting {
        interval: INTERVAL,
        report: |progress| draw("verifying", &progress),
        announced: false,
    };

    /// Starts a bar. `None` if standard error is not a terminal.
    pub(super) fn start() -> Option<Self> {
        io::stderr().is_terminal().then_some(Self)
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        clear(&mut lock());
    }
}

fn draw(doing: &str, progress: &Progress) {
    let mut drawn = lock();
    // Nobody can be told that the terminal is gone.
    *drawn = write!(io::stderr(), "{CLEAR}{}", line(doing, progress)).is_ok();
    let _ = io::stderr().flush();
}

fn clear(drawn: &mut bool) {
    if std::mem::take(drawn) {
        let _ = write!(io::stderr(), "{CLEAR}");
        let _ = io::stderr().flush();
    }
}

fn lock() -> MutexGuard<'static, bool> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn line(doing: &str, progress: &Progress) -> String {
    let (percent, rate) = (progress.percent().min(100), progress.rate());
    let done = WIDTH * percent / 100;
    let bar: String = (0..WIDTH).map(|at| if at < done { '#' } else { '.' }).collect();
    let total = progress.total.div_ceil(1_000_000);
    let rest = progress.remaining().map_or_else(|| "--:--".to_owned(), clock);
    format!("{doing} [{bar}] {percent:3} % of {total} MB, {rate:.1} MB/s, {rest} left")
}

/// Formats minutes and seconds, and hours if there are any.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes:02}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A stream for the log. No bar is drawn while the returned value exists.
pub(super) fn cleared<W: Write>(stream: W) -> Cleared<W> {
    let mut drawn = lock();
    clear(&mut drawn);
    Cleared { stream, _drawn: drawn }
}

#[derive(Debug)]
pub(super) struct Cleared<W> {
    stream: W,
    _drawn: MutexGuard<'static, bool>,
}

impl<W: Write> Write for Cleared<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_rate_and_time_in_one_line() {
        let progress =
            Progress { bytes: 60_000_000, total: 240_000_000, elapsed: Duration::from_secs(30) };
        assert_eq!(
            line("restoring", &progress),
            "restoring [#####...............]  25 % of 240 MB, 2.0 MB/s, 01:30 left"
        );
        let begun = Progress { bytes: 0, total: 5, elapsed: Duration::ZERO };
        assert_eq!(
            line("verifying", &begun),
            "verifying [....................]   0 % of 1 MB, 0.0 MB/s, --:-- left"
        );
    }

    #[test]
    fn fits_into_a_terminal() {
        let (bytes, total) = (999_999_000_000, 1_000_000_000_000);
        let long = Progress { bytes, total, elapsed: Duration::from_mins(150) };
        let line = line("verifying", &long);
        assert!(line.chars().count() < 80, "{line}");
        assert_eq!(clock(Duration::from_secs(3 * 3600 + 62)), "3:01:02");
    }
}
