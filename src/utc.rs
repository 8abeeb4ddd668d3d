//! Times as text, in UTC.
//!
//! A time may come from a file system or from an object, and may be anything. A time that RFC 3339
//! cannot express is written as the first or the last moment that it can.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// The seconds from 1970 to the beginning of the year 0, and to the end of 9999.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

/// Formats a time, rounded down to the second, such as `2026-01-02T15:04:05Z`.
pub(crate) fn seconds(time: SystemTime) -> String {
    date(moment(time)) + "Z"
}

/// Formats a time, rounded down to the millisecond, such as `2026-01-02T15:04:05.678Z`.
pub(crate) fn milliseconds(time: SystemTime) -> String {
    let moment = moment(time);
    format!("{}.{:03}Z", date(moment), moment.millisecond())
}

/// Formats the first millisecond that is not before a time, and without a fraction if that is a
/// whole second: a moment at which something is certainly there that was stored at that time.
pub(crate) fn no_earlier(time: SystemTime) -> String {
    let up = time.checked_add(Duration::from_nanos(999_999)).unwrap_or(time);
    let text = milliseconds(up);
    text.strip_suffix(".000Z").map_or(text.clone(), |whole| whole.to_owned() + "Z")
}

fn moment(time: SystemTime) -> OffsetDateTime {
    let (seconds, nanoseconds) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => (i64::try_from(since.as_secs()).unwrap_or(LAST), since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).map_or(FIRST, |seconds| -seconds);
            match before.subsec_nanos() {
                0 => (whole, 0),
                part => (whole.saturating_sub(1), 1_000_000_000 - part),
            }
        }
    };
    let moment = OffsetDateTime::from_unix_timestamp(seconds.clamp(FIRST, LAST));
    let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.replace_nanosecond(nanoseconds).unwrap_or(moment)
}

fn date(time: OffsetDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file dated before 1970, or a record that names a time after 9999, must not cause a panic.
    #[test]
    fn writes_whatever_time_there_is() {
        let after = |milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
        let before = |milliseconds| SystemTime::UNIX_EPOCH - Duration::from_millis(milliseconds);
        for (time, expected) in [
            (after(0), "1970-01-01T00:00:00.000Z"),
            (after(1_795_354_957_218), "2026-11-22T13:42:37.218Z"),
            (before(1), "1969-12-31T23:59:59.999Z"),
            (before(1000), "1969-12-31T23:59:59.000Z"),
            (after(253_402_300_799_999), "9999-12-31T23:59:59.999Z"),
            (after(999_999_999_999_999_999), "9999-12-31T23:59:59.999Z"),
            (before(999_999_999_999_999_999), "0000-01-01T00:00:00.001Z"),
        ] {
            assert_eq!(milliseconds(time), expected);
            assert_eq!(seconds(time), expected[..19].to_owned() + "Z");
        }
    }

    #[test]
    fn what_is_stored_at_a_time_is_there_at_the_moment_that_is_written() {
        for (nanoseconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (1_000_000, "1970-01-01T00:00:00.001Z"),
            (1_000_001, "1970-01-01T00:00:00.002Z"),
            (999_000_001, "1970-01-01T00:00:01Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
            assert_eq!(no_earlier(time), expected);
        }
    }
}
