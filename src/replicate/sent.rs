use std::fmt::Write as _;

use crate::format::{Generation, Link, Seal, WalPos};

/// What a replica acknowledged last: the end of the history that it is known to have from us.
///
/// Noted without waiting for the disk, for each segment, so a loss of power may take the newest
/// notes away. Then the replica is ahead of what is known here, just as it is when an older copy of
/// the volume was put back, or when the daemon of a copy of the database went on: in each case the
/// segments since would be sealed in the same way. Only the log can tell, if it is still there.
/// Without it the database goes on in a fork, which loses neither history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) generation: Generation,
    pub(super) link: Link,
    pub(super) end: WalPos,
}

impl Sent {
    pub(super) fn of(seal: &Seal) -> Self {
        Self { generation: seal.generation, link: seal.link(), end: seal.end }
    }

    pub(super) fn to_text(self) -> String {
        let Self { generation, link, end } = self;
        let mut text = String::new();
        let _ = writeln!(text, "generation {generation}\nlink {link}\nend {end}");
        text
    }

    /// `None` if the text is not whole, as after a loss of power.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.lines();
        let mut field = |name| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        Some(Self {
            generation: field("generation")?.parse().ok()?,
            link: field("link")?.parse().ok()?,
            end: field("end")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_whole_or_not_at_all() {
        let sent = Sent {
            generation: Generation::from_bits(7),
            link: Link(9),
            end: "00000001_00001038".parse().unwrap(),
        };
        let text = sent.to_text();
        assert_eq!(Sent::parse(&text), Some(sent));
        for length in 0..text.len() {
            assert_eq!(Sent::parse(&text[..length]), None, "{length}");
        }
    }
}
