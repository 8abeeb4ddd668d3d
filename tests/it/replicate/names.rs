//! Databases of a directory whose names change, or are none.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::Signal;

use super::directories::{check, make, start, tenants};
use crate::support::settle;

/// What was in the old one went nowhere, as if it were another name of the new one.
#[test]
fn a_database_that_is_renamed_and_the_one_in_its_place_are_both_replicated() {
    let (site, directory) = tenants("watch: true");
    let [current, old] = ["current.db", "old.db"].map(|name| directory.join(name));
    make(&current, 3);
    let mut daemon = start(&site);
    daemon.wait_for("snapshot written");
    for suffix in ["", "-wal", "-shm"] {
        let name = |path: &Path| path.with_extension(format!("db{suffix}"));
        if name(&current).exists() {
            fs::rename(name(&current), name(&old)).unwrap();
        }
    }
    make(&current, 4);
    make(&old, 5);
    daemon.wait_for(&format!("a database has come, and is followed\" db={}", old.display()));
    make(&old, 6);
    daemon.stop();
    // The history of that name is another one.
    let forks = fs::read_dir(site.replica().join("current.db/forks")).unwrap();
    assert_eq!(forks.count(), 1);
    settle(&old);
    check(&site, &old, &old);
}

/// They were passed over without a word.
#[test]
fn names_that_are_no_text_are_refused() {
    let (site, directory) = tenants("recursive: true, watch: true");
    let below = directory.join(OsStr::from_bytes(b"caf\xe9"));
    let [good, bad] =
        [b"good.db".as_slice(), b"b\xff.db"].map(|it| directory.join(OsStr::from_bytes(it)));
    let other = directory.join(OsStr::from_bytes(b"\xff.txt"));
    fs::create_dir(&below).unwrap();
    for path in [&good, &bad, &other] {
        make(path, 3);
    }
    let mut daemon = start(&site);
    daemon.wait_for("snapshot written");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    let log = daemon.log();
    let named =
        |path: &Path| log.contains(&format!("{} is not replicated: its name is", path.display()));
    assert!(named(&bad) && named(&below) && !named(&other), "{log}");
    check(&site, &good, &good);
}
