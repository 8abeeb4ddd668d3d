use std::time::Instant;

use tokio::sync::mpsc;
use tracing::warn;

use super::divergence::Destination;
use crate::format::{Generation, Link};
use crate::replicate::message::Grant;
use crate::replicate::staging::Staging;
use crate::replicate::tip::Tip;

/// A replica as its database's tail sees it.
#[derive(Debug)]
pub(in crate::replicate) struct Slot {
    pub(in crate::replicate) name: String,
    pub(in crate::replicate) staging: Staging,
    pub(in crate::replicate) grants: mpsc::UnboundedSender<Grant>,
    pub(in crate::replicate) standing: Standing,
    /// The snapshot that the replica waits for.
    pub(super) request: Option<Request>,
    /// A snapshot is being stored, from a database file that must stay as it is meanwhile.
    pub(in crate::replicate) storing: bool,
    /// The replica was found to hold, or has stored, something of ours.
    pub(in crate::replicate) reached: bool,
    /// The link up to which, at the end, it is known that nobody has taken the replica over.
    pub(in crate::replicate) settled: Option<Link>,
    /// A snapshot was asked for because it cannot be restored.
    pub(super) mending: bool,
    /// When such a snapshot was last stored.
    pub(super) mended: Option<Instant>,
    /// Why its store refuses us.
    pub(in crate::replicate) rejected: Option<String>,
}

/// A snapshot that a replica waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) purpose: Purpose,
    /// When it was first asked for.
    pub(super) since: Instant,
    /// Where it is to go, once that is decided.
    pub(super) destination: Option<Destination>,
}

/// What a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To begin with. Has the newest object that the replica held when it asked.
    Beginning(Option<Tip>),
    /// Another snapshot of the generation that the replica has.
    Renewal,
}

impl Request {
    /// The newest object that the replica held when it asked, if it had to look.
    pub(super) fn tip(&self) -> Option<Tip> {
        match self.purpose {
            Purpose::Beginning(tip) => tip,
            Purpose::Renewal => None,
        }
    }
}

/// What a replica has of the current generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replicate) enum Standing {
    /// Not known yet whether it has what an earlier process sent. Segments are kept for it.
    Unknown,
    /// Nothing: it needs a snapshot first, and segments are no use to it.
    Outside,
    /// A snapshot is on its way, and segments are kept for it.
    Joining,
    /// A snapshot, and the segments after it.
    Inside,
}

impl Slot {
    pub(in crate::replicate) fn new(
        name: String,
        staging: Staging,
        grants: mpsc::UnboundedSender<Grant>,
    ) -> Self {
        Self {
            name,
            staging,
            grants,
            standing: Standing::Unknown,
            request: None,
            storing: false,
            reached: false,
            settled: None,
            mending: false,
            mended: None,
            rejected: None,
        }
    }

    /// Notes that the replica waits for a snapshot. If it waits already, the time of its request
    /// stays.
    pub(super) fn ask(&mut self, purpose: Purpose) {
        let since = self.request.map_or_else(Instant::now, |request| request.since);
        self.request = Some(Request { purpose, since, destination: None });
    }

    /// Discards what waits for the replica. What cannot be removed now will later be found not to
    /// fit.
    pub(super) fn discard(&self, generation: Generation) {
        if let Err(error) = self.staging.discard(generation) {
            warn!(name = self.name, %error, "cannot remove what was staged for a replica");
        }
    }
}
