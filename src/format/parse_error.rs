use std::fmt;

/// A text that does not parse as what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    expected: &'static str,
    found: String,
}

impl ParseError {
    pub fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.to_owned() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.found, self.expected)
    }
}

impl std::error::Error for ParseError {}

/// Reads exactly `digits` lower-case hexadecimal digits, as Litestream writes its numbers: no
/// sign, no prefix, no capitals.
pub(super) fn parse_hex(text: &str, digits: usize) -> Option<u64> {
    let exact =
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    exact.then(|| u64::from_str_radix(text, 16).ok())?
}
