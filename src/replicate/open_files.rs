use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Files that are open for each database: three connections to it and its log, their shared memory,
/// the file, its log and the shared memory themselves, its lock and the table of its pages; and
/// two that come and go, for what is staged and sent.
const PER_DATABASE: u64 = 14;

/// Files that are open for an idle database: the connection that reads and what SQLite keeps of
/// three others, its log, its shared memory, the file, its log and the shared memory themselves,
/// its lock and the table of its pages.
const PER_IDLE_DATABASE: u64 = 11;

/// Files for everything else, including requests to stores.
const OTHERS: u64 = 200;

/// Raises the limit of open files as far as the system allows, if `databases` need more than we
/// were given. `None`: it is not known how many there will be.
///
/// It is not raised without need: an application that is our child inherits the limit, and may be
/// made for the usual one.
pub(super) fn allow(databases: Option<usize>) {
    let limit = getrlimit(Resource::Nofile);
    let enough = |allowed| databases.is_some_and(|databases| needed(databases) <= allowed);
    if limit.current.is_none_or(enough) {
        return;
    }
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        debug!("cannot raise the limit of open files: {error}");
    }
}

/// How to get more open files.
const HINT: &str = "raise the limit (ulimit -n, LimitNOFILE= of systemd, `ulimits` of compose)";

fn needed(databases: usize) -> u64 {
    OTHERS + PER_DATABASE * databases as u64
}

/// Fails if this many databases cannot be replicated, even if all of them are idle.
///
/// If we went on, none of them could be replicated, because sending takes files as well.
pub(super) fn expect_enough(databases: usize) -> anyhow::Result<()> {
    let least = PER_IDLE_DATABASE * databases as u64;
    match getrlimit(Resource::Nofile).current.filter(|allowed| *allowed < least) {
        None => Ok(()),
        Some(allowed) => bail!(
            "{databases} databases need {} open files, and {allowed} are allowed: {HINT}",
            needed(databases)
        ),
    }
}

/// Logs a warning if this many databases may need more open files than are allowed.
pub(super) fn check(databases: usize) {
    let needed = needed(databases);
    let current = getrlimit(Resource::Nofile).current;
    if let Some(allowed) = current.filter(|allowed| *allowed < needed) {
        warn!(
            databases,
            needed, allowed, "so many databases may need more open files than are allowed: {HINT}"
        );
    }
}
