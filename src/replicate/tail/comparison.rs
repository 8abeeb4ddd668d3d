use super::sameness::Sameness;
use crate::replicate::changes::Changes;

/// What a page-by-page comparison of the database with what was captured means for the generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// It is the same database, changed in these pages.
    Same(Vec<u32>),
    /// Nobody has written to the file, so what it lacks was in a log that is lost.
    LogLost,
    /// It may be another database, or most of its pages have changed.
    Another,
    /// It cannot be told whether it is the same database.
    Unproven,
}

impl Comparison {
    /// Judges the changes. `is_untouched`: nobody has written to the file since the file and its
    /// log together were what was captured.
    pub(super) fn of(changes: Changes, sameness: Sameness, is_untouched: bool) -> Self {
        match changes {
            // Whatever was suspected: page by page it is what was captured.
            Changes::None => Self::Same(Vec::new()),
            _ if is_untouched => Self::LogLost,
            Changes::Most => Self::Another,
            // Two small databases with the same schema have most of their pages in common.
            Changes::Pages(_) if sameness != Sameness::Given => Self::Unproven,
            Changes::Pages(pages) => Self::Same(pages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sameness::{Doubtful, Given, Refuted, Suspected};
    use super::*;

    #[test]
    fn only_a_file_without_any_doubt_may_have_changed() {
        let some = || Changes::Pages(vec![2, 7]);
        for sameness in [Given, Suspected, Doubtful, Refuted] {
            for is_untouched in [false, true] {
                let of = |changes| Comparison::of(changes, sameness, is_untouched);
                assert_eq!(of(Changes::None), Comparison::Same(vec![]));
                let (expected, of_most) = match (is_untouched, sameness) {
                    (true, _) => (Comparison::LogLost, Comparison::LogLost),
                    (false, Given) => (Comparison::Same(vec![2, 7]), Comparison::Another),
                    (false, _) => (Comparison::Unproven, Comparison::Another),
                };
                assert_eq!(of(some()), expected, "{sameness:?} {is_untouched}");
                assert_eq!(of(Changes::Most), of_most, "{sameness:?} {is_untouched}");
            }
        }
    }
}
