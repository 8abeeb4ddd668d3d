use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// How long a file must not have been written to, so that another write gives it another time; by
/// how much its two times differ only if one of them was set by hand; and by how much the clock may
/// seem to have been set when it was not. In nanoseconds.
const SETTLED: i128 = 2_000_000_000;

/// When a file was last written to, in nanoseconds since 1970, by the clock as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastWrite {
    modified: i128,
    /// When the operating system was started, by that clock.
    started: i128,
}

/// What became of a file since it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody wrote to it.
    Untouched,
    /// Somebody may have written to it, in whatever way.
    Unknown,
    /// It was given an earlier time, as `cp -p` and `rsync` do when they put an older copy in its
    /// place. SQLite never does.
    PutBack,
}

/// What time it is, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    now: i128,
    /// When the operating system was started: this changes only when the clock is set.
    started: i128,
}

impl Clock {
    /// Reads the clock. `None` if it is not known when the operating system was started.
    pub(super) fn read() -> Option<Self> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
        let uptime = Duration::try_from_secs_f64(uptime).ok()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let started = now.checked_sub(uptime)?;
        let [now, started] = [now, started].map(|it| i128::try_from(it.as_nanos()).ok());
        Some(Self { now: now?, started: started? })
    }
}

impl LastWrite {
    /// When the file was last written to. `None` if that was just now, or is yet to come: it might
    /// be written to again and have the same time.
    pub(super) fn of(file: &Metadata, clock: Clock) -> Option<Self> {
        let modified = modified(file);
        (modified + SETTLED < clock.now).then_some(Self { modified, started: clock.started })
    }

    /// What became of the file since then, in the same run of the operating system.
    pub(super) fn fate(self, file: &Metadata, clock: Option<Clock>) -> Fate {
        let modified = modified(file);
        let changed = nanos(file.ctime(), file.ctime_nsec());
        // If the clock was set, SQLite may have written to the file at what seems to be an earlier
        // time.
        let clock_went_on =
            || clock.is_some_and(|clock| (clock.started - self.started).abs() < SETTLED);
        if modified == self.modified {
            Fate::Untouched
        } else if modified < self.modified && modified + SETTLED < changed && clock_went_on() {
            Fate::PutBack
        } else {
            Fate::Unknown
        }
    }
}

impl fmt::Display for LastWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.modified, self.started)
    }
}

impl FromStr for LastWrite {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (modified, started) = text.split_once(' ').ok_or(())?;
        let [modified, started] = [modified, started].map(|it| it.parse().map_err(drop));
        Ok(Self { modified: modified?, started: started? })
    }
}

fn modified(file: &Metadata) -> i128 {
    nanos(file.mtime(), file.mtime_nsec())
}

fn nanos(seconds: i64, nanos: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    const HOUR: i128 = 3_600_000_000_000;

    #[test]
    fn tells_writes_from_older_copies() {
        let mut file = tempfile::tempfile().unwrap();
        let clock = Clock::read().unwrap();
        let at = |hours| Clock { now: clock.now + hours * HOUR, ..clock };
        let of = |file: &File, clock| LastWrite::of(&file.metadata().unwrap(), clock);
        assert_eq!(of(&file, clock), None, "it may be written to in the same instant");
        assert_eq!(of(&file, at(-1)), None, "the clock was set back");
        let made = of(&file, at(1)).unwrap();
        assert_eq!(made.to_string().parse(), Ok(made));
        let fate = |file: &File, since: LastWrite, clock| {
            since.fate(&file.metadata().unwrap(), Some(clock))
        };
        assert_eq!(fate(&file, made, clock), Fate::Untouched);
        std::thread::sleep(Duration::from_millis(20));
        file.write_all(b"more").unwrap();
        assert_eq!(fate(&file, made, clock), Fate::Unknown);
        let later = LastWrite { modified: made.modified + HOUR, ..made };
        assert_eq!(fate(&file, later, clock), Fate::Unknown, "nobody has set its time");
        file.set_modified(SystemTime::now() - Duration::from_hours(1)).unwrap();
        assert_eq!(fate(&file, made, clock), Fate::PutBack);
        // As if it was written to since, with its owner changed after that.
        let set_back = Clock { started: clock.started - HOUR, ..clock };
        assert_eq!(fate(&file, made, set_back), Fate::Unknown, "the clock was set back");
        assert_eq!(made.fate(&file.metadata().unwrap(), None), Fate::Unknown);
    }
}
