use std::time::Duration;

use crate::rogue::{Fault, Habits, Kind, Line, Refusal, Rogue, Rule};

/// What is temporarily wrong with a replica's store, if that is an S3 server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Outage,
    Hanging,
    Resets,
    Slow,
    Errors,
    Throttled,
    Full,
    LostAnswers,
    Repeats,
    LateListing,
    UnorderedListing,
}

impl Trouble {
    const ALL: [Self; 11] = [
        Self::Outage,
        Self::Hanging,
        Self::Resets,
        Self::Slow,
        Self::Errors,
        Self::Throttled,
        Self::Full,
        Self::LostAnswers,
        Self::Repeats,
        Self::LateListing,
        Self::UnorderedListing,
    ];

    pub(crate) fn choose(random: &mut fastrand::Rng) -> Self {
        Self::ALL[random.usize(..Self::ALL.len())]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Outage => "store-outage",
            Self::Hanging => "store-hanging",
            Self::Resets => "store-resets",
            Self::Slow => "store-slow",
            Self::Errors => "store-errors",
            Self::Throttled => "store-throttled",
            Self::Full => "store-full",
            Self::LostAnswers => "store-lost-answers",
            Self::Repeats => "store-repeats",
            Self::LateListing => "store-late-listing",
            Self::UnorderedListing => "store-unordered-listing",
        }
    }

    /// Whether a restore may give up meanwhile, after some attempts, or take too long.
    pub(crate) fn stops_restores(self) -> bool {
        matches!(self, Self::Outage | Self::Hanging | Self::Resets | Self::Slow)
    }

    /// Whether listings may lack objects that were stored before them. So may an unsorted listing,
    /// if objects are added while its pages are read.
    pub(crate) fn hides_objects(self) -> bool {
        matches!(self, Self::LateListing | Self::UnorderedListing)
    }

    /// Begins the trouble. It ends with `Rogue::behave`.
    ///
    /// Troubles that strike reads are rare enough for a restore of a hundred objects, which gives
    /// up if an object cannot be read ten times in a row.
    pub(crate) fn befall(self, store: &Rogue, random: &mut fastrand::Rng) {
        let refusing = |refusal| Rule::from(Fault::Refuse(refusal));
        match self {
            Self::Outage => store.set_line(Line::Refuses),
            Self::Hanging => store.set_line(Line::Hangs),
            Self::Resets if random.bool() => {
                store.set_line(Line::ResetsRequests(random.usize(..6000)));
            }
            Self::Resets => store.set_line(Line::ResetsAnswers(random.usize(..1000))),
            Self::Slow => {
                store.set_line(Line::Slow(random.u32(50_000..500_000)));
                let delay = Duration::from_millis(random.u64(1..300));
                store.misbehave(Rule::from(Fault::Delay(delay)).sometimes(0.5));
            }
            Self::Errors => {
                let others = [Refusal::DENIED, Refusal::NO_BUCKET];
                let refusals = [&Refusal::PASSING[..], &others].concat();
                for _ in 0..3 {
                    let refusal = refusals[random.usize(..refusals.len())];
                    let rule = refusing(refusal).sometimes(0.1);
                    // A restore that is refused for good fails.
                    let kinds: &[Kind] =
                        if others.contains(&refusal) { &Kind::STORING } else { &[] };
                    store.misbehave(rule.on(kinds));
                }
            }
            Self::Throttled => store.misbehave(refusing(Refusal::SLOW_DOWN).sometimes(0.3)),
            Self::Full => {
                let refusal = [Refusal::FULL, Refusal::QUOTA][random.usize(..2)];
                store.misbehave(refusing(refusal).on(&Kind::STORING));
            }
            Self::LostAnswers => {
                store.misbehave(Rule::from(Fault::LoseAnswer).sometimes(0.15));
                store.misbehave(Rule::from(Fault::Deny(Refusal::INTERNAL)).sometimes(0.1));
                store.misbehave(Rule::from(Fault::BreakOff(random.usize(..1000))).sometimes(0.05));
            }
            Self::Repeats => {
                store.misbehave(Rule::from(Fault::Repeat).sometimes(0.3));
                let later = Fault::RepeatAfter(random.u32(1..20));
                store.misbehave(Rule::from(later).on(&Kind::STORING).sometimes(0.3));
            }
            Self::LateListing => {
                let listing_delay = Duration::from_millis(random.u64(100..3000));
                store.set_habits(Habits { listing_delay, ..Habits::default() });
            }
            Self::UnorderedListing => {
                let page = random.usize(1..5);
                store.set_habits(Habits { page, unordered: true, ..Habits::default() });
            }
        }
    }
}
