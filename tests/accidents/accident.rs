mod damaged_source;
mod early_snapshot;
mod failed_upload;
mod flipped_bit;
mod fresh_database;
mod killed_daemon;
mod missing_segment;
mod replaced_file;
mod short_child;
mod short_retention;
mod stale_log;
mod two_daemons;

use crate::contender::Contender;
use crate::outcome::Outcome;

pub(crate) struct Accident {
    /// The word that selects this accident.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) happen: fn(Contender) -> Outcome,
}

pub(crate) const ACCIDENTS: [Accident; 12] = [
    stale_log::ACCIDENT,
    fresh_database::ACCIDENT,
    flipped_bit::ACCIDENT,
    missing_segment::ACCIDENT,
    early_snapshot::ACCIDENT,
    two_daemons::ACCIDENT,
    short_retention::ACCIDENT,
    killed_daemon::ACCIDENT,
    replaced_file::ACCIDENT,
    damaged_source::ACCIDENT,
    short_child::ACCIDENT,
    failed_upload::ACCIDENT,
];
