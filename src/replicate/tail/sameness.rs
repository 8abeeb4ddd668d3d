/// Whether the database file is the one that was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sameness {
    /// Nothing speaks against it.
    Given,
    /// Its log was lost, and somebody else may have it: the file may have gone back, or be damaged.
    Suspected,
    /// It may be another one: the file is, or it was overwritten while nobody watched.
    Doubtful,
    /// It is not what its log leads to: something else than SQLite has written to it, so that the
    /// log proves nothing about it. So it stays until a generation begins with it.
    Refuted,
}
