//! Sites, processes and writers, for tests of the binary as a whole.

mod background;
mod compare;
mod helper;
mod ledger;
mod listing;
mod litestream;
mod nobody;
mod peer;
mod process;
mod served;
mod sharing;
mod site;
mod workload;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};

pub(crate) use background::Background;
pub(crate) use compare::{assert_same, settle};
pub(crate) use helper::{Helper, Role};
pub(crate) use ledger::Ledger;
pub(crate) use listing::{Generation, Listing};
pub(crate) use litestream::litestream;
pub(crate) use nobody::{as_nobody, set_mode};
pub(crate) use peer::Peer;
pub(crate) use process::Process;
pub(crate) use sharing::{
    all_is_sent, begin, check_all, copy_of, copy_with_log, insert, restored, restored_from, rows,
    share_replica,
};
pub(crate) use site::Site;
pub(crate) use workload::{Workload, open};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `is_true` returns true.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Exchanges the names of two files or directories, so that neither is missing for a moment.
pub(crate) fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

/// Formats a time as the command line takes it.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::from(time).format(format).unwrap()
}
