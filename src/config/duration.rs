use std::time::Duration;

/// The nanoseconds of one second. A smaller number without a unit was surely meant as seconds or
/// milliseconds.
const NANOSECONDS_MIN: u64 = 1_000_000_000;

/// Reads a duration as Go writes it, `1h30m`, or as a number of nanoseconds. Days are ours: `7d`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let nanoseconds = text.parse().map_err(|_| format!("{text} nanoseconds are too many"))?;
        if (1..NANOSECONDS_MIN).contains(&nanoseconds) {
            return Err(format!("{text} stands for nanoseconds; write its unit, as in {text}s"));
        }
        return Ok(Duration::from_nanos(nanoseconds));
    }
    // The library knows more units than Go, `M` for a month among them.
    let units =
        text.split(|c: char| c.is_ascii_digit() || c == '.').filter(|unit| !unit.is_empty());
    let known = |unit: &str| ["ns", "us", "µs", "μs", "ms", "s", "m", "h", "d"].contains(&unit);
    if text.starts_with('-') || !units.clone().all(known) {
        return Err(refusal(text));
    }
    humantime::parse_duration(&text.replace('μ', "µ")).map_err(|_| refusal(text))
}

fn refusal(text: &str) -> String {
    format!("{text:?} is not a duration; write 500ms, 10s, 1m or 1h30m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, seconds) in [
            ("0", 0.0),
            ("0s", 0.0),
            ("1s", 1.0),
            ("1h30m", 5400.0),
            ("1m0s", 60.0),
            ("1.5h", 5400.0),
            ("100ms", 0.1),
            ("250us", 0.000_25),
            ("250µs", 0.000_25),
            ("1000000000", 1.0),
            ("7d", 604_800.0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "s",
            "1",
            "86400",
            "999999",
            "2592000",
            "86400000",
            "1M",
            "1 h",
            "-1s",
            "1x",
            "1hour",
            "1y",
            "h1",
            "99999999999999999999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let refused = parse("86400").unwrap_err();
        assert!(refused.contains("86400s"), "{refused}");
    }
}
