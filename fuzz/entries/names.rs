use std::fmt::Display;
use std::str::FromStr;

use litestream::format::{Generation, Key, WalIndex, WalPos};

/// Names of objects and their parts: what is taken for one is written again as it was.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for text in text.lines() {
        round_trip::<Key>(text);
        round_trip::<Generation>(text);
        round_trip::<WalIndex>(text);
        round_trip::<WalPos>(text);
    }
}

fn round_trip<T: FromStr<Err: Display> + Display>(text: &str) {
    match text.parse::<T>() {
        Ok(name) => assert_eq!(name.to_string(), text),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
