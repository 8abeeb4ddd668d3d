//! A daemon that is stopped at a moment when another one, started with a copy of its state, would
//! use other names.

use std::fs;

use rusqlite::Connection;

use super::fencing::sent_by;
use crate::support::{Process, Site, all_is_sent, copy_with_log, eventually, insert, open};

/// A site whose log is restarted whenever nobody reads from it.
pub(super) fn often_checkpointed() -> Site {
    often_checkpointed_with("")
}

/// A site that is checkpointed often, with these settings of its replica.
pub(super) fn often_checkpointed_with(replica: &str) -> Site {
    let site = Site::new();
    let settings = "checkpoint-interval: 100ms, min-checkpoint-page-count: 1";
    let replica = format!("path: {}, sync-interval: 20ms, {replica}", site.replica().display());
    site.configure(&format!("monitor-interval: 20ms, {settings}"), &[&replica]);
    site.configure_also("logging: {level: debug}");
    site.write(1, 50);
    site
}

/// A suspended daemon, whose log is restarted by the next write.
pub(super) struct AboutToRestart {
    pub(super) one: Site,
    pub(super) connection: Connection,
    pub(super) daemon: Process,
    /// Its note of what was sent, from one segment earlier.
    pub(super) sent: Vec<u8>,
}

impl AboutToRestart {
    pub(super) fn new() -> Self {
        Self::of(often_checkpointed())
    }

    /// `one` must be checkpointed often.
    pub(super) fn of(one: Site) -> Self {
        let connection = open(&one.database());
        let mut daemon = one.replicate();
        daemon.wait_for("snapshot written");
        let mut sent = Vec::new();
        for number in 1..3 {
            sent = fs::read(sent_by(&one)).unwrap_or_default();
            insert(&connection, number);
            all_is_sent(&one, &one);
            let log = format!("position={:08x}_", one.listing().only().last_index());
            eventually("the next write restarts the log", || {
                let is_it = |line: &str| line.contains(&log) && line.contains("complete=true");
                daemon.log().lines().any(is_it)
            });
        }
        daemon.pause();
        Self { one, connection, daemon, sent }
    }
}

/// A copy of a site that is in use. Its log continues, while that of the site is restarted.
pub(super) struct Copied {
    pub(super) site: Site,
    pub(super) connection: Connection,
    /// Keeps the log from being restarted.
    pub(super) reader: Connection,
}

impl Copied {
    pub(super) fn of(one: &Site) -> Self {
        let site = copy_with_log(one);
        site.configure_also("logging: {level: debug}");
        let [connection, reader] = [(); 2].map(|()| open(&site.database()));
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        Self { site, connection, reader }
    }
}
