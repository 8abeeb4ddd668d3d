//! Times and durations as text.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a time such as `2026-01-02T15:04:05.678+01:00`.
pub(super) fn parse(text: &str) -> Result<SystemTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map(SystemTime::from).map_err(|_| {
        let hint = match OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339) {
            Ok(_) => ": its time zone is missing, as in Z or +01:00",
            Err(_) => "",
        };
        format!("must specify in ISO 8601 format (e.g. 2000-01-01T00:00:00Z){hint}")
    })
}

/// How much later `end` is than `start`, as Go writes durations, to as many digits as matter to
/// people. Zero if it is earlier: a replica that was written to after the last change does not
/// lag.
pub(super) fn lag(start: SystemTime, end: SystemTime) -> String {
    duration(end.duration_since(start).unwrap_or_default())
}

/// The lag in seconds as a number, rounded to the millisecond.
pub(super) fn seconds_behind(start: SystemTime, end: SystemTime) -> f64 {
    let behind = end.duration_since(start).unwrap_or_default();
    (behind.as_secs_f64() * 1000.0).round() / 1000.0
}

fn duration(duration: Duration) -> String {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if 0 < hours {
        format!("{hours}h{}m{}s", minutes % 60, seconds % 60)
    } else if 0 < minutes {
        format!("{minutes}m{}s", seconds % 60)
    } else if 10 <= seconds || 0 < seconds && nanoseconds < 100_000_000 {
        format!("{seconds}s")
    } else if 0 < seconds {
        format!("{seconds}.{}s", nanoseconds / 100_000_000)
    } else if 1_000_000 <= nanoseconds {
        format!("{}ms", nanoseconds / 1_000_000)
    } else if 1_000 <= nanoseconds {
        format!("{}µs", nanoseconds / 1_000)
    } else if 0 < nanoseconds {
        format!("{nanoseconds}ns")
    } else {
        "0s".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::utc;

    #[test]
    fn writes_durations_as_go_does() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1µs"),
            (15_999_999, "15ms"),
            (1_000_000_000, "1s"),
            (1_090_000_000, "1s"),
            (1_590_000_000, "1.5s"),
            (10_900_000_000, "10s"),
            (66_000_000_000, "1m6s"),
            (60_000_000_000, "1m0s"),
            (3_603_000_000_000, "1h0m3s"),
            (90_000_000_000_000, "25h0m0s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanoseconds)), expected);
        }
        let (early, late) = (parse("2026-01-01T00:00:00Z"), parse("2026-01-01T00:00:02.5Z"));
        let (early, late) = (early.unwrap(), late.unwrap());
        assert_eq!(lag(late, early), "0s");
        assert_eq!(seconds_behind(early, late).to_string(), "2.5");
        assert_eq!(seconds_behind(late, early).to_string(), "0");
    }

    #[test]
    fn reads_and_writes_times() {
        for (text, expected) in [
            ("2026-11-22T07:16:02Z", "2026-11-22T07:16:02.000Z"),
            ("2026-11-22T07:16:02.9876Z", "2026-11-22T07:16:02.987Z"),
            ("2026-11-22T00:30:00+01:00", "2026-11-21T23:30:00.000Z"),
        ] {
            let time = parse(text).unwrap();
            assert_eq!(utc::milliseconds(time), expected);
        }
        for text in ["", "yesterday", "2026-11-22", "2026-11-22 07:16:02", "1764000000"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
