/// What the connections to the store are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Line {
    #[default]
    Good,
    /// New connections are refused, and those that there are get reset.
    Refuses,
    /// Connections are taken, but nothing moves. What was sent arrives when this is over, even if
    /// whoever sent it does not wait any more.
    Hangs,
    /// Each connection is reset when so many more bytes of requests have come through.
    ResetsRequests(usize),
    /// … or of answers.
    ResetsAnswers(usize),
    /// So many bytes per second in each direction of each connection.
    Slow(u32),
}
