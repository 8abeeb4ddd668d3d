//! What the tail of a database and its replicas tell each other.
//!
//! What there is to do is on disk, and a later process needs none of these messages. Within one
//! process none may be lost: a replica asks once, and waits for the answer.

use std::sync::{Arc, mpsc};

use tokio::sync::watch;

use super::bell::Bell;
use super::cancellation::Cancellation;
use super::opened::OpenFiles;
use super::refusals::Refusals;
use super::snapshot::Snapshot;
use super::tip::Tip;
use crate::format::{Generation, Link, WalPos};

/// How far a database was captured, as its tail tells its replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Captured {
    /// Whether the tail has looked at what an earlier process left. Until then nothing is known.
    pub(super) known: bool,
    /// The generation that is being captured. `None` before the first one, and between two.
    pub(super) generation: Option<Generation>,
    /// The link of the last segment that was cut.
    pub(super) link: Link,
    /// Where the next segment begins. One that is staged there is not counted yet, and must not be
    /// sent before it is: after a crash another one would be cut in its place.
    pub(super) pos: WalPos,
    /// There is a database file.
    pub(super) present: bool,
    /// We are stopping: nothing is gained by waiting for more.
    pub(super) stopping: bool,
}

/// What a replica tells the tail.
#[derive(Clone, Debug)]
pub(super) enum Report {
    /// It can be reached, and needs a first snapshot. Its newest object is this one.
    WantsSnapshot(Option<Box<Tip>>),
    /// It holds the generation, and needs another snapshot of it. The replica was not looked at for
    /// this, so it says nothing about any other generation.
    WantsAnother(Generation),
    /// It holds the generation, up to where the staged segments begin.
    Holds(Generation),
    /// It holds something other than what was sent to it. The reason is for people.
    Diverged(Generation, String),
    /// The snapshot was stored.
    SnapshotStored(Generation),
    /// The snapshot was not stored; it will be wanted again.
    SnapshotFailed(Generation, SnapshotFailure),
    /// A segment was stored.
    SegmentStored,
    /// We are stopping, and what was stored is in its place up to the segment of this link: no
    /// other daemon has taken the replica over.
    Settled(Link),
    /// It cannot be used until somebody changes something.
    Rejected(String),
}

/// Why a snapshot was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotFailure {
    /// The store did not take it, or it came too late.
    NotTaken,
    /// The database is not what was captured from its log.
    Mismatch,
}

impl Report {
    /// Whether the report shows that the store has accepted something from us, even of a generation
    /// that has ended since.
    pub(super) fn shows_use(&self) -> bool {
        matches!(self, Self::Holds(_) | Self::SnapshotStored(_) | Self::SegmentStored)
    }
}

/// What a replica that wants a snapshot gets.
#[derive(Debug)]
pub(super) enum Grant {
    /// A snapshot to be stored in the replica. `tip` is the newest object there, as far as the tail
    /// knows: if the replica holds another one, this was not decided for it.
    Snapshot { snapshot: Box<Snapshot>, tip: Option<Tip> },
    /// A snapshot to be stored in a fork, because the database does not continue what the replica
    /// holds.
    Fork(Box<Snapshot>),
    /// No snapshot: the database goes on where the replica ends.
    Continuation,
}

/// What wakes a tail.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Report {
        replica: usize,
        report: Report,
    },
    /// Validation found that this replica cannot be restored: store another snapshot in it.
    Mend {
        replica: usize,
        /// It could be restored before.
        anew: bool,
    },
    /// Capture what is left, wait until all replicas have it, and end.
    Stop,
    /// End now.
    Abort,
}

/// A tail's own end of these channels, and what it shares with other tails.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) captured: watch::Sender<Captured>,
    pub(super) cancellation: Cancellation,
    /// These are shared by all tails.
    pub(super) opened: OpenFiles,
    pub(super) refusals: Arc<Refusals>,
}

/// The way to a tail.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    /// Cancels long operations, of the tail and for it.
    pub(super) cancellation: Cancellation,
    pub(super) sender: mpsc::Sender<Message>,
    pub(super) bell: Arc<Bell>,
}

impl Mailbox {
    /// Sends a message to the tail. If the tail has ended, it is no longer needed.
    pub(super) fn send(&self, message: Message) {
        if matches!(message, Message::Abort) {
            self.cancellation.cancel();
        }
        if self.sender.send(message).is_ok() {
            self.bell.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generation ended just when a replica was found to hold it, so that this did not count.
    /// The other replica could not be reached at the start. Two seconds later the first one could
    /// not be reached for a moment, and the daemon ended, as if every store had refused it.
    #[test]
    fn a_generation_that_ended_shows_as_well_that_a_store_takes_us() {
        let generation: Generation = "00000000000000aa".parse().unwrap();
        for (report, expected) in [
            (Report::Holds(generation), true),
            (Report::SnapshotStored(generation), true),
            (Report::SegmentStored, true),
            // The store may be readable and not writable.
            (Report::Settled(Link::default()), false),
            (Report::WantsSnapshot(None), false),
            (Report::WantsAnother(generation), false),
            (Report::Diverged(generation, String::new()), false),
            (Report::SnapshotFailed(generation, SnapshotFailure::NotTaken), false),
            (Report::Rejected(String::new()), false),
        ] {
            assert_eq!(report.shows_use(), expected, "{report:?}");
        }
    }
}
