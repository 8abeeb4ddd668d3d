//! Databases of a directory whose names change or are invalid.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::Signal;

use super::directories::{check, first_of, make, start, tenants};
use crate::support::settle;

/// Gives a database another name, with its log.
fn rename(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let name = |path: &Path| path.with_extension(format!("db{suffix}"));
        if name(from).exists() {
            fs::rename(name(from), name(to)).unwrap();
        }
    }
}

/// Writes to the renamed one must not be ignored as if it were another name of the new one.
#[test]
fn a_database_that_is_renamed_and_the_one_in_its_place_are_both_replicated() {
    let (site, [current, old], mut daemon) = first_of(["current.db", "old.db"]);
    rename(&current, &old);
    make(&current, 4);
    make(&old, 5);
    daemon.wait_for(&format!("a database has come, and is followed\" db={}", old.display()));
    make(&old, 6);
    daemon.stop();
    // The replica of that name has another history.
    let forks = fs::read_dir(site.replica().join("current.db/forks")).unwrap();
    assert_eq!(forks.count(), 1);
    settle(&old);
    check(&site, &old, &old);
}

/// When the snapshot that is under way has been stored, its file is closed. That would drop the
/// locks on the same file, if it were already followed under its new name.
#[test]
#[cfg(debug_assertions)]
fn a_database_that_is_renamed_is_not_opened_before_its_snapshot_is_done() {
    let (site, directory) = tenants("watch: true");
    let [current, old] = ["current.db", "old.db"].map(|name| directory.join(name));
    make(&current, 3);
    site.arm("object-writing = slow 5s @ 1");
    let mut daemon = start(&site);
    daemon.wait_for("write snapshot");
    rename(&current, &old);
    make(&current, 4);
    daemon.wait_for(&format!("a database has come, and is followed\" db={}", old.display()));
    let log = daemon.log();
    let (before, _) = log.split_once("a database has come").unwrap();
    let is_done = ["snapshot written", "storing a snapshot failed"];
    assert!(is_done.iter().any(|text| before.contains(text)), "{log}");
    make(&old, 6);
    daemon.stop();
    settle(&old);
    check(&site, &old, &old);
}

/// They must not be silently ignored.
#[test]
fn names_that_are_no_text_are_refused() {
    let (site, directory) = tenants("recursive: true, watch: true");
    let place = |name: &[u8]| directory.join(OsStr::from_bytes(name));
    let [good, bad, below, text, empty] =
        [b"good.db".as_slice(), b"b\xff.db", b"caf\xe9/below.db", b"\xff.txt", b"empty\xff.db"]
            .map(place);
    fs::create_dir(place(b"caf\xe9")).unwrap();
    // Directories that do not matter.
    fs::create_dir(place(b"uploads\xe9")).unwrap();
    fs::create_dir(place(b".b\xff.db-litestream")).unwrap();
    for path in [&good, &bad, &below, &text] {
        make(path, 3);
    }
    fs::write(&empty, "").unwrap();
    let mut daemon = start(&site);
    daemon.wait_for("snapshot written");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    let log = daemon.log();
    let named =
        |path: &Path| log.contains(&format!("{} is not replicated: its path is", path.display()));
    assert!(named(&bad) && named(&below), "{log}");
    assert_eq!(
        log.matches("its path is not in UTF-8").count(),
        4,
        "each once, and at the end: {log}"
    );
    check(&site, &good, &good);
}
