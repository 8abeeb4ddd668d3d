use std::path::Path;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use super::FileId;

/// How long a file must not have been written to, so that the next write is sure to give it another
/// time: the clock of file systems ticks some hundred times a second.
const SETTLED: Duration = Duration::from_secs(2);

/// What can be seen of the `-wal` file of a database without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState(Option<Written>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    id: FileId,
    size: u64,
    modified: SystemTime,
}

impl LogState {
    pub(super) fn of(log: &Path) -> io::Result<Self> {
        match fs::metadata(log) {
            Ok(found) => {
                let (id, size) = (FileId::of(&found), found.len());
                Ok(Self(Some(Written { id, size, modified: found.modified()? })))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    /// The size of the log in bytes. 0 if there is none.
    pub fn size(&self) -> u64 {
        self.0.map_or(0, |log| log.size)
    }

    /// Whether any write to the log would change this state. If the log is empty it would, whatever
    /// the time is.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        self.0.is_none_or(|log| {
            log.size == 0 || now.duration_since(log.modified).is_ok_and(|age| age > SETTLED)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_another_one_after_each_write_once_it_is_settled() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db-wal");
        let (now, state) = (SystemTime::now(), || LogState::of(&path).unwrap());
        let none = state();
        assert!(none.is_settled(now));
        fs::write(&path, "").unwrap();
        assert!(state().is_settled(now));
        fs::write(&path, "frames").unwrap();
        let fresh = state();
        assert!(fresh != none && !fresh.is_settled(now));
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(now - 2 * SETTLED).unwrap();
        let settled = state();
        assert!(settled.is_settled(now) && settled == state());
        // In place, as in a log that was restarted.
        fs::write(&path, "others").unwrap();
        assert_ne!(state(), settled);
        file.set_modified(now + SETTLED).unwrap();
        assert!(!state().is_settled(now), "the clock was set back");
    }
}
