use std::fmt;
use std::str::FromStr;

use super::ParseError;
use super::parse_error::parse_hex;

/// One unbroken history of a database: a snapshot and every WAL frame after it.
///
/// Generations are random and have no order. Whenever continuity with what was already replicated
/// cannot be proven, a new generation begins. Printed as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(u64);

impl Generation {
    /// The generation named by 64 random bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Generation {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_hex(text, 16)
            .map(Self)
            .ok_or_else(|| ParseError::new("a generation (16 lower-case hex digits)", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_its_sixteen_digits() {
        for text in ["0000000000000000", "67c3797361749ad0", "ffffffffffffffff"] {
            assert_eq!(text.parse::<Generation>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_near_misses() {
        for text in
            ["", "67C3797361749AD0", "67c3797361749ad", "+7c3797361749ad0", "67c3797361749ad00"]
        {
            assert!(text.parse::<Generation>().is_err(), "{text}");
        }
    }
}
