//! The options of cargo's test harness, which a test without it must accept.

/// Flags whose value is a word of its own.
const WITH_VALUE: [&str; 7] =
    ["--test-threads", "--format", "--color", "--logfile", "--skip", "--shuffle-seed", "-Z"];

/// Whether this run must do nothing.
pub(crate) fn only_asks(word: &str) -> bool {
    ["--list", "--ignored"].contains(&word)
}

/// Returns whether a word is a flag, and takes its value from the words after it.
pub(crate) fn skip_flag<'a>(word: &str, behind: &mut impl Iterator<Item = &'a String>) -> bool {
    if WITH_VALUE.contains(&word) {
        behind.next();
    }
    word.starts_with('-')
}
