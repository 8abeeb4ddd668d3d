use std::time::{Duration, SystemTime};

/// What a store always does that others do not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one has nothing to do with the other")]
pub(crate) struct Habits {
    /// How many names there are in one page of a listing.
    pub(crate) page: usize,
    /// Whether listings are unsorted.
    pub(crate) unordered: bool,
    /// The longest delay before a new object is listed. It differs from object to object.
    pub(crate) listing_delay: Duration,
    /// Objects stored from now on whose names contain this are not listed at all.
    pub(crate) unlisted: Option<String>,
    /// Objects are read as if they ended after this many bytes, though they are listed with their
    /// full size.
    pub(crate) readable: Option<u64>,
    /// Whether the first page of a listing lacks a token.
    pub(crate) forgets_tokens: bool,
    /// Whether stored objects are confirmed without a tag.
    pub(crate) gives_no_tags: bool,
    /// Whether conditions on writes are ignored.
    pub(crate) ignores_conditions: bool,
    /// How far ahead the times of new objects are, in seconds. The time of an answer stays right,
    /// because clients correct the time of their requests by it.
    pub(crate) clock_ahead: i64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            page: 1000,
            unordered: false,
            listing_delay: Duration::ZERO,
            unlisted: None,
            readable: None,
            forgets_tokens: false,
            gives_no_tags: false,
            ignores_conditions: false,
            clock_ahead: 0,
        }
    }
}

impl Habits {
    /// The time that a new object gets.
    pub(super) fn now(&self) -> SystemTime {
        let ahead = Duration::from_secs(self.clock_ahead.unsigned_abs());
        let now = SystemTime::now();
        if self.clock_ahead < 0 { now - ahead } else { now + ahead }
    }
}
