//! What the test harness of cargo understands, and a test without it has to bear.

/// Flags whose value is a word of its own.
const WITH_VALUE: [&str; 7] =
    ["--test-threads", "--format", "--color", "--logfile", "--skip", "--shuffle-seed", "-Z"];

/// Whether this run is to do nothing.
pub(crate) fn only_asks(word: &str) -> bool {
    ["--list", "--ignored"].contains(&word)
}

/// Says whether a word is a flag, and takes the value that belongs to it from those behind it.
pub(crate) fn skip_flag<'a>(word: &str, behind: &mut impl Iterator<Item = &'a String>) -> bool {
    if WITH_VALUE.contains(&word) {
        behind.next();
    }
    word.starts_with('-')
}
