use std::time::{Duration, SystemTime};

/// What a store does at all times that others do not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one has nothing to do with the other")]
pub(crate) struct Habits {
    /// How many names there are in one page of a listing.
    pub(crate) page: usize,
    /// Listings are in no order.
    pub(crate) unordered: bool,
    /// A new object is listed only after a while, which differs from one to the next and is not
    /// longer than this.
    pub(crate) listing_delay: Duration,
    /// Objects that are stored from now on and have this in their names are not listed at all.
    pub(crate) unlisted: Option<String>,
    /// Objects are read as if they ended behind so many bytes, though they are listed as a whole.
    pub(crate) readable: Option<u64>,
    /// The first page of a listing does not say how to go on.
    pub(crate) forgets_tokens: bool,
    /// What was stored is confirmed without a tag.
    pub(crate) gives_no_tags: bool,
    /// Conditions of writes are not looked at.
    pub(crate) ignores_conditions: bool,
    /// How far ahead the times of new objects are, in seconds. By the time of an answer a client
    /// corrects the time of its requests, so that one is right.
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
