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
    /// Since when it has been waiting for a snapshot.
    pub(in crate::replicate) wants_snapshot: Option<Instant>,
    /// It waits for another snapshot of the current generation, and not for one to begin with.
    pub(in crate::replicate) wants_another: bool,
    /// The newest object that it held when it asked for the snapshot.
    pub(in crate::replicate) tip: Option<Tip>,
    /// Where the snapshot is to go, once that was found out.
    pub(in crate::replicate) destination: Option<Destination>,
    /// A snapshot is being stored, from a database file that must stay as it is meanwhile.
    pub(in crate::replicate) storing: bool,
    /// It was found to hold, or has stored, something of ours.
    pub(in crate::replicate) reached: bool,
    /// Up to which link it is known, at the end, that nobody has taken it over.
    pub(in crate::replicate) settled: Option<Link>,
    /// Why its store refuses us.
    pub(in crate::replicate) rejected: Option<String>,
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
            wants_snapshot: None,
            wants_another: false,
            tip: None,
            destination: None,
            storing: false,
            reached: false,
            settled: None,
            rejected: None,
        }
    }

    /// Forgets what waits for it. What cannot be removed now will be found not to fit.
    pub(super) fn discard(&self, generation: Generation) {
        if let Err(error) = self.staging.discard(generation) {
            warn!(name = self.name, %error, "cannot remove what was staged for a replica");
        }
    }
}
