use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::{Generation, WalPos};

/// What was proven last about a replica: a small text beside its generations.
///
/// ```text
/// version 1
/// generation 67c3797361749ad0
/// position 00000001_00001038
/// proven 1700000000123            milliseconds since 1970
/// damaged 1700000003123           only while the database itself fails its checks
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub generation: Generation,
    /// Everything before it was restored and was right, and the database well-formed.
    pub position: WalPos,
    /// When that was proven, by the primary's clock.
    pub proven: SystemTime,
    /// Since when the database itself, and so what is restored from behind that position, is known
    /// to be damaged. Nothing may expire then.
    pub damaged: Option<SystemTime>,
}

impl Proof {
    /// The name of its object in a replica.
    pub const KEY: &'static str = "verified";

    /// More bytes than it ever has.
    pub const BYTES_MAX: u64 = 1024;

    pub fn to_text(&self) -> String {
        let Self { generation, position, proven, damaged } = self;
        let mut text = format!(
            "version 1\ngeneration {generation}\nposition {position}\nproven {}\n",
            milliseconds(*proven)
        );
        if let Some(damaged) = damaged {
            let _ = writeln!(text, "damaged {}", milliseconds(*damaged));
        }
        text
    }

    /// `None` if it is altered, or of a later version of this program.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        if field("version")? != "1" {
            return None;
        }
        Some(Self {
            generation: field("generation")?.parse().ok()?,
            position: field("position")?.parse().ok()?,
            proven: time(field("proven")?)?,
            damaged: match lines.next() {
                Some(line) => Some(time(line.strip_prefix("damaged ")?)?),
                None => None,
            },
        })
    }
}

fn milliseconds(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

fn time(text: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(text.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_as_it_was_written() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        for damaged in [None, Some(at(1_700_000_003_123))] {
            let proof = Proof {
                generation: Generation::from_bits(7),
                position: "00000001_00001038".parse().unwrap(),
                proven: at(1_700_000_000_123),
                damaged,
            };
            assert_eq!(Proof::parse(&proof.to_text()), Some(proof));
            assert!((proof.to_text().len() as u64) < Proof::BYTES_MAX);
        }
        for text in ["", "version 2\n", "version 1\ngeneration x\n"] {
            assert_eq!(Proof::parse(text), None);
        }
    }
}
