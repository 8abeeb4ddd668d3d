//! At each step that others rely on, in turn, the process dies, or the disk is full, broken or
//! read-only.
//!
//! A release build has no failpoints, and then there is nothing to test.
#![cfg(debug_assertions)]

mod daemon_deaths;
mod disk_errors;
mod progress;
mod restore_deaths;

use std::fmt::Debug;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use litestream::failpoint::Failpoint;

use crate::support::{Background, Ledger, Listing, Site};

/// The exit status of a killed process.
const KILLED: i32 = 128 + 9;

/// Whether only a restore passes this place.
fn is_of_restore(failpoint: Failpoint) -> bool {
    failpoint.name().starts_with("output-")
}

/// Whether this place is passed only when a log was removed (`replicate::lost_log`), or by a
/// restore.
fn is_of_an_accident(failpoint: Failpoint) -> bool {
    is_of_restore(failpoint) || failpoint.name().starts_with("lost-log-")
}

/// Runs many cases, a few at a time: they mostly wait.
fn for_each<T: Debug + Send>(
    cases: impl IntoIterator<Item = T, IntoIter: Send>,
    run: impl Fn(T) + Sync,
) {
    let cases = Mutex::new(cases.into_iter());
    let next = || cases.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = next() {
                    eprintln!("{case:?} is tried");
                    let name = format!("{case:?}");
                    run(case);
                    eprintln!("{name} is done");
                }
            });
        }
    });
}

/// An application at work, in which no step may fail.
fn application(site: &Site) -> Background {
    let ledger = Ledger::open(&site.database());
    Background::start(move |_| {
        ledger.step();
        thread::sleep(Duration::from_millis(2));
    })
}

/// Restores what a replica has, if there is anything, and expects a committed state that is not
/// older than the last one.
fn look(site: &Site, replica: &str, seen: &mut i64) {
    if Listing::of(&site.path(replica)).snapshots() == 0 {
        assert_eq!(*seen, 0, "{replica} has lost everything");
        return;
    }
    let moves = Ledger::audit(&site.restore(&["-replica", replica]));
    assert!(moves >= *seen, "{replica} had {seen} moves, and has {moves}");
    *seen = moves;
}
