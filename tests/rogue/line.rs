/// What the connections to the store are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Line {
    #[default]
    Good,
    /// New connections are refused, and existing ones are reset.
    Refuses,
    /// Connections are accepted, but nothing moves. What was sent arrives when this is over, even
    /// if the sender no longer waits.
    Hangs,
    /// Each connection is reset after this many more bytes of requests have come through.
    ResetsRequests(usize),
    /// … or of answers.
    ResetsAnswers(usize),
    /// The bytes per second in each direction of each connection are limited to this.
    Slow(u32),
}
