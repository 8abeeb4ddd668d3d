use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use twox_hash::XxHash3_64;

use super::{Generation, WalPos};

/// What was last proven about a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub generation: Generation,
    /// Everything before this position was restored and found right, and the database was
    /// well-formed.
    pub position: WalPos,
    /// When this was proven, by the primary's clock.
    pub proven: SystemTime,
}

/// What validation found out about a replica: a small text beside its generations.
///
/// ```text
/// version 1
/// generation 67c3797361749ad0
/// position 00000001_00001038
/// proven 1700000000123            milliseconds since 1970
/// damaged 1700000003123           only while the database itself fails its checks
/// signature 0123456789abcdef      the digest of all before it
/// ```
///
/// The three lines of the proof are missing while there is none: if the database was damaged
/// before anything was proven, that must be recorded too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProofRecord {
    pub last: Option<Proof>,
    /// Since when the database itself, and so whatever is restored from after the last proof, is
    /// known to be damaged. Nothing may expire while this is set.
    pub damaged: Option<SystemTime>,
}

impl ProofRecord {
    /// The name of its object in a replica.
    pub const KEY: &'static str = "verified";

    /// An upper bound for the size of the record in bytes.
    pub const BYTES_MAX: u64 = 1024;

    pub fn to_text(&self) -> String {
        let mut text = "version 1\n".to_owned();
        if let Some(Proof { generation, position, proven }) = &self.last {
            let proven = milliseconds(*proven);
            let _ = write!(text, "generation {generation}\nposition {position}\nproven {proven}\n");
        }
        if let Some(damaged) = &self.damaged {
            let _ = writeln!(text, "damaged {}", milliseconds(*damaged));
        }
        let signature = XxHash3_64::oneshot(text.as_bytes());
        let _ = writeln!(text, "signature {signature:016x}");
        text
    }

    /// Returns `None` if anything is altered or missing, or if the record is of a later version of
    /// this program. It may say then that the database is damaged, so nothing may be deleted.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let (signed, signature) = text.rsplit_once('\n')?;
        let expected = XxHash3_64::oneshot(format!("{signed}\n").as_bytes());
        if signature != format!("signature {expected:016x}") {
            return None;
        }
        let mut fields = Fields(signed.lines().peekable());
        if fields.take("version")? != "1" {
            return None;
        }
        let last = match fields.take("generation") {
            Some(generation) => Some(Proof {
                generation: generation.parse().ok()?,
                position: fields.take("position")?.parse().ok()?,
                proven: time(fields.take("proven")?)?,
            }),
            None => None,
        };
        let damaged = match fields.take("damaged") {
            Some(damaged) => Some(time(damaged)?),
            None => None,
        };
        fields.0.next().is_none().then_some(Self { last, damaged })
    }
}

/// Lines that each begin with a name, in a fixed order.
struct Fields<'a>(std::iter::Peekable<std::str::Lines<'a>>);

impl<'a> Fields<'a> {
    /// The value of the next line, if that line has this name.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let value = self.0.peek()?.strip_prefix(name)?.strip_prefix(' ')?;
        self.0.next();
        Some(value)
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

    fn records() -> [ProofRecord; 4] {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let proof = Proof {
            generation: Generation::from_bits(7),
            position: "00000001_00001038".parse().unwrap(),
            proven: at(1_700_000_000_123),
        };
        let damaged = at(1_700_000_003_123);
        [(None, None), (Some(proof), None), (None, Some(damaged)), (Some(proof), Some(damaged))]
            .map(|(last, damaged)| ProofRecord { last, damaged })
    }

    #[test]
    fn is_read_back_as_it_was_written() {
        for record in records() {
            let text = record.to_text();
            assert_eq!(ProofRecord::parse(text.as_bytes()), Some(record));
            assert!((text.len() as u64) < ProofRecord::BYTES_MAX);
        }
    }

    /// Otherwise a flipped digit would move what `-last-verified` gives, and a flipped letter in
    /// the name `damaged` would let history expire again.
    #[test]
    fn is_not_believed_when_anything_is_altered_or_missing() {
        for record in records() {
            let text = record.to_text();
            for at in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1;
                assert_eq!(ProofRecord::parse(&bytes), None, "byte {at} of {text}");
                assert_eq!(ProofRecord::parse(&text.as_bytes()[..at]), None, "cut at {at}: {text}");
            }
            let later = text.replace("version 1", "version 2");
            let (signed, _) = later.rsplit_once("signature").unwrap();
            let signature = XxHash3_64::oneshot(signed.as_bytes());
            let later = format!("{signed}signature {signature:016x}\n");
            assert_eq!(ProofRecord::parse(later.as_bytes()), None);
        }
    }
}
