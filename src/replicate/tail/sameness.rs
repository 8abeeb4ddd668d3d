/// Whether the database file is the one that was captured, ordered by how much speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sameness {
    /// Nothing speaks against it.
    Given,
    /// Its log was lost, and another process may have it: the file may have gone back, or be
    /// damaged.
    Suspected,
    /// It may be another database: the file is another one, or was overwritten while nobody
    /// watched.
    Doubtful,
    /// It is not what its log leads to: something other than SQLite has written to it, so the log
    /// proves nothing about it. That lasts until all of it was compared, or a generation begins
    /// with it.
    Refuted,
}

impl Sameness {
    /// Notes a reason for doubt. One that is weaker than the current one changes nothing.
    pub(super) fn doubt(&mut self, doubt: Self) {
        *self = (*self).max(doubt);
    }

    /// Notes that the log goes on from where it was read to.
    pub(super) fn note_continuity(&mut self) {
        if *self != Self::Refuted {
            *self = Self::Given;
        }
    }

    /// Notes that the database counts as another one from now on, which explains a different file.
    /// Any other doubt remains.
    pub(super) fn note_other(&mut self) {
        if *self == Self::Doubtful {
            *self = Self::Given;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sameness::{self, Doubtful, Given, Refuted, Suspected};

    const ALL: [Sameness; 4] = [Given, Suspected, Doubtful, Refuted];

    fn after(before: Sameness, event: impl Fn(&mut Sameness)) -> Sameness {
        let mut after = before;
        event(&mut after);
        after
    }

    #[test]
    fn only_the_greatest_doubt_counts() {
        for (before, index) in ALL.into_iter().zip(0..) {
            for (doubt, other) in ALL.into_iter().zip(0..) {
                let expected = ALL[index.max(other)];
                assert_eq!(after(before, |it| it.doubt(doubt)), expected);
            }
        }
    }

    #[test]
    fn a_log_proves_nothing_about_a_file_that_something_else_wrote_to() {
        let found = ALL.map(|before| after(before, Sameness::note_continuity));
        assert_eq!(found, [Given, Given, Given, Refuted]);
    }

    #[test]
    fn another_database_is_no_reason_to_doubt_it() {
        let found = ALL.map(|before| after(before, Sameness::note_other));
        assert_eq!(found, [Given, Suspected, Given, Refuted]);
    }
}
