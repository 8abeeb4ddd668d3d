use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use super::{Failpoint, SCRIPT};

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// The process is killed.
    Kill,
    Fail(Errno),
    Wait(Duration),
}

/// The script as last read, and how often each place was passed since it changed.
#[derive(Debug)]
struct Script {
    text: String,
    passed: [u64; Failpoint::ALL.len()],
}

static PATH: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os(SCRIPT).map(PathBuf::from));
static LAST: Mutex<Script> =
    Mutex::new(Script { text: String::new(), passed: [0; Failpoint::ALL.len()] });

/// Does what the script says at `failpoint`. Does nothing without a script.
pub(super) fn pass(failpoint: Failpoint) -> io::Result<()> {
    let Some(path) = PATH.as_ref() else { return Ok(()) };
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    match action(text, failpoint) {
        None => Ok(()),
        Some(Action::Fail(error)) => Err(error.into()),
        Some(Action::Wait(pause)) => {
            std::thread::sleep(pause);
            Ok(())
        }
        Some(Action::Kill) => {
            let _ = kill_process(getpid(), Signal::KILL);
            unreachable!("nobody survives that");
        }
    }
}

/// Counts this pass, and looks up what to do at it.
fn action(text: String, failpoint: Failpoint) -> Option<Action> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.text != text {
        *last = Script { text, passed: [0; Failpoint::ALL.len()] };
    }
    let count = &mut last.passed[failpoint as usize];
    *count += 1;
    let count = *count;
    let lines = last.text.lines().filter(|line| !line.trim().is_empty());
    // A mistake in a test must not look like a test that has passed.
    let mut faults = lines.map(|line| parse(line).unwrap_or_else(|| panic!("{SCRIPT}: {line:?}")));
    faults.find(|(of, _, times)| *of == failpoint && times.contains(&count)).map(|fault| fault.1)
}

/// Reads `place = action [@ first[..last]]`.
fn parse(line: &str) -> Option<(Failpoint, Action, RangeInclusive<u64>)> {
    let (name, rest) = line.split_once('=')?;
    let failpoint = Failpoint::ALL.iter().find(|failpoint| failpoint.name() == name.trim())?;
    let (action, times) = match rest.split_once('@') {
        None => (rest, 1..=u64::MAX),
        Some((action, times)) => {
            let (first, last) = times.split_once("..").unwrap_or((times, times));
            (action, first.trim().parse().ok()?..=last.trim().parse().ok()?)
        }
    };
    let action = match action.trim() {
        "kill" => Action::Kill,
        "enospc" => Action::Fail(Errno::NOSPC),
        "eio" => Action::Fail(Errno::IO),
        "erofs" => Action::Fail(Errno::ROFS),
        wait => Action::Wait(humantime::parse_duration(wait.strip_prefix("slow ")?).ok()?),
    };
    Some((*failpoint, action, times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_happens_where_and_when() {
        let pause = Action::Wait(Duration::from_millis(20));
        for (line, expected) in [
            ("segment-cut=kill", (Failpoint::SegmentCut, Action::Kill, 1..=u64::MAX)),
            ("segment-cut = kill @ 3", (Failpoint::SegmentCut, Action::Kill, 3..=3)),
            (
                "object-writing = eio @ 2..5",
                (Failpoint::ObjectWriting, Action::Fail(Errno::IO), 2..=5),
            ),
            ("object-syncing = slow 20ms", (Failpoint::ObjectSyncing, pause, 1..=u64::MAX)),
        ] {
            assert_eq!(parse(line), Some(expected), "{line}");
        }
        for line in ["segment-cut", "segment=kill", "segment-cut=die", "segment-cut=kill@x", "="] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn names_are_those_of_the_places() {
        for failpoint in Failpoint::ALL {
            let words = failpoint.name().split('-').collect::<String>();
            assert_eq!(format!("{failpoint:?}").to_lowercase(), words);
        }
    }
}
