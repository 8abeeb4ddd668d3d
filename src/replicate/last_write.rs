use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// How long a file must not have been written to, so that whoever writes to it again gives it
/// another time; and by how much its two times differ only if one of them was set by hand.
const SETTLED: Duration = Duration::from_secs(2);

/// When a file was written to last, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LastWrite(pub(super) i128);

/// What became of a file since it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody wrote to it.
    Untouched,
    /// Somebody may have, in whatever way.
    Unknown,
    /// It was given an earlier time, as `cp -p` and `rsync` do when they put an older copy in its
    /// place. SQLite never does.
    PutBack,
}

impl LastWrite {
    /// `None` if that was just before `now`, or it cannot be told: then it might be written to
    /// again and have the same time.
    pub(super) fn of(file: &Metadata, now: SystemTime) -> Option<Self> {
        let age = now.duration_since(file.modified().ok()?).ok()?;
        (age > SETTLED).then_some(Self(modified(file)))
    }

    /// What became of the file since then, in the same run of the operating system: at the start of
    /// one a clock may be far behind.
    pub(super) fn fate(self, file: &Metadata) -> Fate {
        let modified = modified(file);
        let changed = nanos(file.ctime(), file.ctime_nsec());
        if modified == self.0 {
            Fate::Untouched
        } else if modified < self.0 && modified + nanos_of(SETTLED) < changed {
            Fate::PutBack
        } else {
            Fate::Unknown
        }
    }
}

fn modified(file: &Metadata) -> i128 {
    nanos(file.mtime(), file.mtime_nsec())
}

fn nanos(seconds: i64, nanos: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

fn nanos_of(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn tells_writes_from_older_copies() {
        let mut file = tempfile::tempfile().unwrap();
        let (now, hour) = (SystemTime::now(), Duration::from_hours(1));
        let of = |file: &File, now| LastWrite::of(&file.metadata().unwrap(), now);
        assert_eq!(of(&file, SystemTime::now()), None, "it may be written to in the same instant");
        assert_eq!(of(&file, now - hour), None, "the clock was set back");
        let made = of(&file, now + hour).unwrap();
        let fate = |file: &File, since: LastWrite| since.fate(&file.metadata().unwrap());
        assert_eq!(fate(&file, made), Fate::Untouched);
        std::thread::sleep(Duration::from_millis(20));
        file.write_all(b"more").unwrap();
        assert_eq!(fate(&file, made), Fate::Unknown);
        let later = LastWrite(made.0 + nanos_of(hour));
        assert_eq!(fate(&file, later), Fate::Unknown, "written while a clock was set back");
        file.set_modified(now - hour).unwrap();
        assert_eq!(fate(&file, made), Fate::PutBack);
    }
}
