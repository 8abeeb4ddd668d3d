use std::path::Path;

use crate::contender::Contender;
use crate::it::support::Peer;

/// The settings that differ between accidents.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// From how many pages on the log is checkpointed.
    pub(crate) checkpoint_pages: Option<&'static str>,
    pub(crate) sync_interval: Option<&'static str>,
    pub(crate) snapshot_interval: Option<&'static str>,
    pub(crate) retention: Option<&'static str>,
    pub(crate) validation_interval: Option<&'static str>,
}

impl Settings {
    /// The configuration text with these settings for a contender.
    pub(crate) fn text(&self, contender: Contender, database: &Path, replica: &Path) -> String {
        let database = format!(
            "path: {}, monitor-interval: 20ms, {}",
            database.display(),
            line("min-checkpoint-page-count", self.checkpoint_pages)
        );
        let replica = format!(
            "path: {}, sync-interval: {}",
            replica.display(),
            self.sync_interval.unwrap_or("20ms")
        );
        match contender {
            Contender::Peer(Peer::V0_5) => format!(
                "dbs: [{{{database}replica: {{{replica}}}}}]\n\
                 snapshot: {{{}{}}}\n\
                 validation: {{{}}}\n",
                line("interval", self.snapshot_interval),
                line("retention", self.retention),
                line("interval", self.validation_interval),
            ),
            Contender::Ours | Contender::Peer(Peer::V0_3) => format!(
                "dbs: [{{{database}replicas: [{{{replica}, {}{}{}{}}}]}}]\n",
                line("snapshot-interval", self.snapshot_interval),
                line("retention", self.retention),
                line("retention-check-interval", self.retention.map(|_| "200ms")),
                line("validation-interval", self.validation_interval),
            ),
        }
    }
}

fn line(key: &str, value: Option<&str>) -> String {
    value.map_or(String::new(), |value| format!("{key}: {value}, "))
}
