//! Whether a replica is as good as it should be. Decided on values alone.

use std::fmt;
use std::time::Duration;

/// How good a replica is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    #[default]
    Good,
    /// It has lacked commits for longer than it should. That may pass.
    Late,
    /// A person must look after it.
    Failing,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Late => "late",
            Self::Failing => "failing",
        })
    }
}

/// What can be seen of a replica from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// The age of the oldest commit that is captured, and not acknowledged.
    pub(super) unacknowledged: Option<Duration>,
    /// How long there have been changes to the database, or its log, that were not looked at.
    pub(super) unseen: Option<Duration>,
    /// How long there has been no database file.
    pub(super) absent: Option<Duration>,
    /// A snapshot is being stored, which may take any time.
    pub(super) joining: bool,
    pub(super) trouble: Option<Trouble>,
}

/// What a person must look after, even if everything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The last validation failed.
    Invalid,
    /// The database is replicated to a fork.
    Diverged,
    /// Its store refuses what is asked of it.
    Refused,
}

impl Trouble {
    fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "the last validation failed: see the log",
            Self::Diverged => {
                "it holds another history, and the database is in a fork: see the log"
            }
            Self::Refused => "its store refuses what is asked of it: see the log",
        }
    }
}

/// After how many sync intervals commits are late, but never before this much time.
const LATE: (u32, Duration) = (5, Duration::from_secs(5));
const FAILING: (u32, Duration) = (60, Duration::from_mins(1));

/// How long a database file may be missing before its replicas are late. They are never failing for
/// that: the application may have no need of it yet.
const ABSENT_MAX: Duration = Duration::from_mins(1);

/// Judges a replica whose commits are to be sent in `interval`, and gives the reason.
pub(super) fn diagnose(signs: &Signs, interval: Duration) -> (Health, &'static str) {
    if let Some(trouble) = signs.trouble {
        return (Health::Failing, trouble.reason());
    }
    let lateness = |age: Option<Duration>| match age {
        Some(age) if longest(FAILING, interval) < age => Health::Failing,
        Some(age) if longest(LATE, interval) < age => Health::Late,
        _ => Health::Good,
    };
    let sending = match lateness(signs.unacknowledged) {
        Health::Failing if signs.joining => Health::Late,
        health => health,
    };
    let absence = match signs.absent {
        Some(age) if age > ABSENT_MAX => Health::Late,
        _ => Health::Good,
    };
    let findings = [
        (absence, "there is no database file: check its path, if its application runs"),
        (lateness(signs.unseen), "the database is not captured: see the log"),
        (
            sending,
            if signs.joining {
                "a snapshot of the database is being stored"
            } else {
                "it does not have commits that are to be sent to it"
            },
        ),
    ];
    let worst = findings.into_iter().rev().max_by_key(|(health, _)| *health);
    worst.filter(|(health, _)| *health > Health::Good).unwrap_or((Health::Good, ""))
}

fn longest((intervals, least): (u32, Duration), interval: Duration) -> Duration {
    least.max(interval.saturating_mul(intervals))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(signs: Signs, expected: Health) {
        assert_eq!(diagnose(&signs, Duration::from_secs(2)).0, expected, "{signs:?}");
    }

    #[test]
    fn is_worse_the_longer_something_is_missing() {
        for (seconds, expected) in [
            (0, Health::Good),
            (10, Health::Good),
            (11, Health::Late),
            (120, Health::Late),
            (121, Health::Failing),
        ] {
            let age = Some(Duration::from_secs(seconds));
            check(Signs { unacknowledged: age, ..Signs::default() }, expected);
            check(Signs { unseen: age, ..Signs::default() }, expected);
        }
        check(Signs::default(), Health::Good);
    }

    #[test]
    fn a_database_that_does_not_come_is_late_at_worst() {
        for (seconds, expected) in [(60, Health::Good), (61, Health::Late), (86_400, Health::Late)]
        {
            let absent = Some(Duration::from_secs(seconds));
            check(Signs { absent, ..Signs::default() }, expected);
        }
    }

    #[test]
    fn a_first_snapshot_is_late_at_worst() {
        let age = Some(Duration::from_hours(1));
        check(Signs { unacknowledged: age, joining: true, ..Signs::default() }, Health::Late);
    }

    #[test]
    fn the_worst_counts_and_is_named() {
        let late = Some(Duration::from_secs(11));
        let trouble = Some(Trouble::Diverged);
        check(Signs { trouble, unacknowledged: late, ..Signs::default() }, Health::Failing);
        let signs = Signs { trouble: Some(Trouble::Invalid), ..Signs::default() };
        let (health, reason) = diagnose(&signs, Duration::from_secs(1));
        assert_eq!(health, Health::Failing);
        assert!(reason.contains("validation"), "{reason}");
    }
}
