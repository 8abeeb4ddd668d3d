use crate::format::{Generation, History};
use crate::replicate::sent::Sent;
use crate::replicate::tip::Tip;

/// What a replica held when it asked for the snapshot with which it is to join a generation.
#[derive(Debug)]
pub(super) struct Before {
    /// The generations that have begun. One without a snapshot is only about to.
    generations: Vec<Generation>,
    tip: Option<Tip>,
}

impl Before {
    pub(super) fn new(histories: &[History], tip: Option<Tip>) -> Self {
        Self { generations: begun(histories).collect(), tip }
    }

    /// Returns a generation that another daemon has begun or continued since, or `None`.
    ///
    /// It may be the one that we join: we have sent nothing to that since, except the snapshot.
    /// `sent` is what we sent last.
    pub(super) fn touched(
        &self,
        now: &[History],
        ours: Generation,
        sent: Option<Sent>,
    ) -> Option<Generation> {
        let is_new = |of: &Generation| *of != ours && !self.generations.contains(of);
        let went_on = || {
            let tip = self.tip?.key;
            let generation = tip.generation();
            let history = now.iter().find(|now| now.generation == generation)?;
            let newest = if generation == ours {
                // Its newest snapshot is ours.
                history.segments.last()?.pos
            } else {
                history.newest()?.0.start()
            };
            let end = sent.filter(|sent| sent.generation == generation).map(|sent| sent.end);
            let is_foreign = newest > tip.start() && Some(newest) >= end;
            is_foreign.then_some(generation)
        };
        begun(now).find(is_new).or_else(went_on)
    }
}

/// The generations that have a snapshot.
pub(super) fn begun(histories: &[History]) -> impl Iterator<Item = Generation> {
    histories.iter().filter(|of| !of.snapshots.is_empty()).map(|of| of.generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Key, Link, WalIndex};
    use std::time::SystemTime;

    #[test]
    fn who_goes_on_with_what_was_there_is_seen() {
        let [ours, theirs, new] = [1, 2, 3].map(Generation::from_bits);
        let history = |generation, segments: &[&str]| {
            let snapshot = Key::Snapshot { generation, index: WalIndex::default() };
            let segments =
                segments.iter().map(|pos| Key::Segment { generation, pos: pos.parse().unwrap() });
            let keys = std::iter::once(snapshot).chain(segments);
            History::new(generation, keys.map(|key| (key, 1, SystemTime::UNIX_EPOCH)))
        };
        let [first, second] = ["00000000_00000000", "00000000_00001038"];
        let before = [history(theirs, &[first])];
        let tip = before[0].newest().map(|(key, _)| Tip { key, seal: None });
        let before = Before::new(&before, tip);
        let touched = |now: &[History], sent| before.touched(now, ours, sent);
        assert_eq!(touched(&[history(ours, &[]), history(theirs, &[first])], None), None);
        assert_eq!(touched(&[history(ours, &[])], None), None, "it has expired");
        assert_eq!(touched(&[history(ours, &[]), history(new, &[])], None), Some(new));
        let went_on = [history(ours, &[]), history(theirs, &[first, second])];
        assert_eq!(touched(&went_on, None), Some(theirs));
        let sent = |end: &str| {
            let end = end.parse().unwrap();
            Some(Sent { generation: theirs, link: Link::default(), end })
        };
        assert_eq!(touched(&went_on, sent(second)), Some(theirs));
        assert_eq!(touched(&went_on, sent("00000000_00002070")), None, "that was sent by us");
        let joined = |segments: &[&str]| before.touched(&[history(theirs, segments)], theirs, None);
        assert_eq!(joined(&[first, second]), Some(theirs), "as well where we join it");
        assert_eq!(joined(&[first]), None, "there we are ourselves");
    }
}
