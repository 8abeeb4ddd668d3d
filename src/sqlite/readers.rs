use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

use super::sidecar;

/// The bytes of the shared memory that stand for readers, as `wal.c` of SQLite has them.
const READERS: std::ops::RangeInclusive<u64> = 123..=127;

/// A process in a read transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    pub pid: u32,
    /// Of its program. Empty if it is not known.
    pub name: String,
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
/// not those of other containers, and nothing at all elsewhere than on Linux.
///
/// Taken from the list of all locks. The shared memory itself must not be opened, see
/// [`crate::sqlite`].
pub fn readers(database: &Path) -> Vec<Reader> {
    let Ok(shared) = fs::metadata(sidecar(database, "-shm")) else { return Vec::new() };
    let device = (major(shared.dev()), minor(shared.dev()));
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut pids: Vec<u32> =
        locks.lines().filter_map(|line| reader(line, device, shared.ino())).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|pid| *pid != std::process::id());
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pids.into_iter().map(|pid| Reader { pid, name: name(pid).trim_end().to_owned() }).collect()
}

/// Whose lock that is, if it is that of a reader on the file. A line is as `proc_locks(5)` has it:
/// `1: POSIX  ADVISORY  READ 2433 fe:00:1048 124 124`.
fn reader(line: &str, (major, minor): (u32, u32), inode: u64) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    if words.next()? != "POSIX" || words.next()? != "ADVISORY" || words.next()? != "READ" {
        return None;
    }
    let pid = words.next()?.parse().ok()?;
    let file = words.next()? == format!("{major:02x}:{minor:02x}:{inode}");
    let first: u64 = words.next()?.parse().ok()?;
    (file && READERS.contains(&first)).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_locks_of_readers_and_no_others() {
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
            assert_eq!(reader(line, (0xfe, 0), 1048), expected, "{line}");
        }
    }
}
