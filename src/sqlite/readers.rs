use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

use super::sidecar;

/// The bytes of the shared memory that stand for the writer and for readers, as defined in `wal.c`
/// of SQLite.
const WRITER: u64 = 120;
const READERS: RangeInclusive<u64> = 123..=127;

/// A process in a read transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    pub pid: u32,
    /// The name of its program. Empty if it is not known.
    pub name: String,
    /// It is writing just now, for which it is in a read transaction as well.
    pub writes: bool,
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "process {}", self.pid),
            name => write!(f, "{name} (process {})", self.pid),
        }
    }
}

/// The other processes that are reading from `database` just now, as far as the system shows them:
/// not those in other containers, and none at all except on Linux.
///
/// Taken from the list of all locks. The shared memory itself must not be opened, see
/// [`crate::sqlite`].
pub fn readers(database: &Path) -> Vec<Reader> {
    // For a link, SQLite keeps it beside what the link leads to.
    let index = database.canonicalize().map(|target| sidecar(&target, "-shm"));
    let Ok(shared) = index.and_then(fs::metadata) else { return Vec::new() };
    let device = (major(shared.dev()), minor(shared.dev()));
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let holders = |kind, bytes| holders(&locks, kind, bytes, device, shared.ino());
    let (mut pids, writers) = (holders("READ", READERS), holders("WRITE", WRITER..=WRITER));
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|pid| *pid != std::process::id());
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let reader =
        |pid| Reader { pid, name: name(pid).trim_end().to_owned(), writes: writers.contains(&pid) };
    pids.into_iter().map(reader).collect()
}

/// The processes that have locks of the kind `kind` on the file which begin with one of `bytes`.
fn holders(
    locks: &str,
    kind: &str,
    bytes: RangeInclusive<u64>,
    device: (u32, u32),
    inode: u64,
) -> Vec<u32> {
    let holder = |line| holder(line, kind, &bytes, device, inode);
    locks.lines().filter_map(holder).collect()
}

/// The process that has the lock in a line, if it is one that is asked for. A line is as in
/// `proc_locks(5)`: `1: POSIX  ADVISORY  READ 2433 fe:00:1048 124 124`.
fn holder(
    line: &str,
    kind: &str,
    bytes: &RangeInclusive<u64>,
    (major, minor): (u32, u32),
    inode: u64,
) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    if words.next()? != "POSIX" || words.next()? != "ADVISORY" || words.next()? != kind {
        return None;
    }
    let pid = words.next()?.parse().ok()?;
    let file = words.next()? == format!("{major:02x}:{minor:02x}:{inode}");
    let first: u64 = words.next()?.parse().ok()?;
    (file && bytes.contains(&first)).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_locks_that_are_asked_for_and_no_others() {
        for (line, expected) in [
            ("1: POSIX  ADVISORY  READ 24841 fe:00:1048 124 124", Some(24841)),
            ("13: POSIX  ADVISORY  READ 7 fe:00:1048 123 123", Some(7)),
            ("1: POSIX  ADVISORY  READ 24841 fe:00:1048 128 128", None),
            ("1: POSIX  ADVISORY  WRITE 24841 fe:00:1048 124 124", None),
            ("1: POSIX  ADVISORY  READ 24841 fe:01:1048 124 124", None),
            ("1: POSIX  ADVISORY  READ 24841 fe:00:1049 124 124", None),
            ("1: -> POSIX  ADVISORY  READ 24841 fe:00:1048 124 124", None),
            ("1: FLOCK  ADVISORY  READ 24841 fe:00:1048 0 EOF", None),
            ("1: OFDLCK ADVISORY  READ -1 fe:00:1048 124 124", None),
            ("", None),
        ] {
            assert_eq!(holder(line, "READ", &READERS, (0xfe, 0), 1048), expected, "{line}");
        }
        let line = "1: POSIX  ADVISORY  WRITE 24841 fe:00:1048 120 120";
        assert_eq!(holders(line, "WRITE", WRITER..=WRITER, (0xfe, 0), 1048), [24841]);
        assert_eq!(holders(line, "READ", READERS, (0xfe, 0), 1048), [0; 0]);
    }
}
