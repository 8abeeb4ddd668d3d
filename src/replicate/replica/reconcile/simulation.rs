//! A daemon that dies at any moment, a store whose answers get lost, and what is sent in the end.

use proptest::prelude::*;

use super::*;
use crate::format::{Content, Digest, WalPos};

#[derive(Clone, Copy, Debug)]
enum Step {
    Cut,
    /// The oldest staged segment is stored; its name is removed unless the process dies first.
    Send {
        stored: bool,
        removed: bool,
    },
    Restart,
    /// A loss of power: what is staged is not trusted.
    LoseStaged,
    /// The volume is copied. When the copy is put back, the daemon knows what it knew then.
    Copy,
    PutBack,
    /// Another daemon writes to the same generation.
    Intrude,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Cut),
        8 => any::<(bool, bool)>().prop_map(|(stored, removed)| Step::Send { stored, removed }),
        4 => Just(Step::Restart),
        1 => Just(Step::LoseStaged),
        1 => Just(Step::Copy),
        1 => Just(Step::PutBack),
        1 => Just(Step::Intrude),
    ]
}

/// What is on the volume of a daemon.
#[derive(Clone, Debug, Default)]
struct Volume {
    staged: Vec<Seal>,
    cursor: (u64, Link),
    /// Every segment that led to the database on the volume. The daemon does not know them all.
    history: Vec<Seal>,
}

#[derive(Debug)]
struct World {
    volume: Volume,
    copy: Volume,
    /// The stored segments, in the order of their positions; one replaces another of the same name.
    replica: Vec<Seal>,
    /// What the process knows of the replica.
    tip: Option<Link>,
    /// Nothing but its own work has happened to the replica and the volume.
    undisturbed: bool,
    content: u128,
}

impl World {
    fn cut(&mut self) {
        self.content += 1;
        let (number, previous) = self.volume.cursor;
        let seal = segment(number, self.content, previous);
        self.volume.cursor = (number + 1, seal.link());
        self.volume.staged.push(seal);
        self.volume.history.push(seal);
    }

    fn store(&mut self, seal: Seal) {
        self.replica.retain(|stored| stored.start != seal.start);
        self.replica.push(seal);
        self.replica.sort_by_key(|stored| stored.start);
    }

    /// Does what happens before anything is sent. Returns whether segments may be sent.
    fn reconcile(&mut self) -> bool {
        if self.tip.is_some() {
            return true;
        }
        let newest = Ok(self.replica.last().copied());
        let next = Ok(self.volume.staged.first().copied());
        let standing = holding(&newest, &next, Some(self.volume.cursor.1));
        match standing {
            Holding::Holds(link) => {
                self.expect_complete();
                self.tip = Some(link);
            }
            _ => assert!(!self.undisturbed, "{standing:?} of {self:#?}"),
        }
        self.tip.is_some()
    }

    /// Sends the oldest staged segment. Returns `false` when a snapshot is wanted instead.
    fn send(&mut self, stored: bool, removed: bool) -> bool {
        if !self.reconcile() {
            return false;
        }
        let Some(&seal) = self.volume.staged.first() else { return true };
        // See `follows`.
        if self.tip != Some(seal.previous) {
            assert!(!self.undisturbed, "{self:#?}");
            return false;
        }
        if stored {
            self.store(seal);
            self.expect_whole();
        }
        if stored && removed {
            self.volume.staged.remove(0);
            self.tip = Some(seal.link());
        }
        // If only the answer was lost, the store is asked again; or the process died, and does not
        // know.
        true
    }

    /// Checks that what is stored and what is staged is all there is, and that one segment at most
    /// is both.
    fn expect_complete(&self) {
        let Volume { history, staged, .. } = &self.volume;
        let sent = history.len() - staged.len();
        assert!((sent..=sent + 1).contains(&self.replica.len()), "{self:#?}");
        assert!(history.starts_with(&self.replica) && history.ends_with(staged), "{self:#?}");
    }

    /// Checks that every segment follows the one before it, up to the one that was stored last.
    fn expect_whole(&self) {
        for pair in self.replica.windows(2) {
            assert_eq!(pair[1].previous, pair[0].link(), "{self:#?}");
            assert_eq!(pair[1].start, pair[0].end);
        }
    }
}

fn segment(number: u64, content: u128, previous: Link) -> Seal {
    let at = |number: u64| WalPos { offset: number * 100, ..WalPos::default() };
    Seal {
        start: at(number),
        end: at(number + 1),
        digest: Digest(content),
        previous,
        ..Seal::example()
    }
}

proptest! {
    /// Whenever a segment is sent, it follows what is there; and a daemon's own deaths and lost
    /// answers alone never make it begin anew.
    #[test]
    fn sends_only_what_follows(steps in prop::collection::vec(step(), 1..60)) {
        // As in the seal of the first snapshot.
        let first = segment(0, 0, Link(0));
        let content = Content::Snapshot { predecessor: None };
        let snapshot = Seal { content, end: WalPos::default(), ..first };
        let mut world = World {
            volume: Volume::default(),
            copy: Volume::default(),
            replica: Vec::new(),
            tip: Some(snapshot.link()),
            undisturbed: true,
            content: 0,
        };
        for step in steps {
            match step {
                Step::Cut => world.cut(),
                Step::Send { stored, removed } => {
                    if !world.send(stored, removed) {
                        break;
                    }
                }
                Step::Restart => world.tip = None,
                Step::LoseStaged => {
                    world.undisturbed &= world.volume.staged.is_empty();
                    world.volume.staged.clear();
                    world.tip = None;
                }
                Step::Copy => world.copy = world.volume.clone(),
                Step::PutBack => {
                    world.volume = world.copy.clone();
                    (world.tip, world.undisturbed) = (None, false);
                }
                Step::Intrude => {
                    world.content += 1;
                    let (number, link) = world.replica.last().map_or((0, Link(0)), |last| {
                        (last.end.offset / 100, last.link())
                    });
                    let seal = segment(number, world.content, link);
                    world.store(seal);
                    // It is noticed at the next start.
                    (world.tip, world.undisturbed) = (None, false);
                }
            }
            // The replica holds nothing but its first snapshot.
            if world.tip.is_none() && world.replica.is_empty() {
                let found = holding(
                    &Ok(Some(snapshot)),
                    &Ok(world.volume.staged.first().copied()),
                    Some(world.volume.cursor.1),
                );
                if let Holding::Holds(link) = found {
                    world.tip = Some(link);
                }
            }
        }
    }
}
