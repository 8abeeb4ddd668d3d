use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Files that are open for each database: three connections to it and its log, their shared memory,
/// the file itself and its lock.
const PER_DATABASE: u64 = 9;

/// What everything else takes, with requests to stores under way.
const OTHERS: u64 = 200;

/// Takes all of the open files that the system lets us have.
pub(super) fn allow() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        debug!("cannot raise the limit of open files: {error}");
    }
}

/// Says so if there are too few of them.
pub(super) fn check(databases: usize) {
    let needed = OTHERS + PER_DATABASE * databases as u64;
    let current = getrlimit(Resource::Nofile).current;
    if let Some(allowed) = current.filter(|allowed| *allowed < needed) {
        warn!(
            databases,
            needed,
            allowed,
            "so many databases need more open files than are allowed: raise the limit (ulimit -n, \
             LimitNOFILE= of systemd, `ulimits` of compose)"
        );
    }
}
