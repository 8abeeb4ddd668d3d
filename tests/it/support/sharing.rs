//! Several sites that replicate to one replica.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Process, Site, eventually, litestream, open, settle};

/// Lets a site replicate to the replica of another one, with additional settings.
pub(crate) fn share_replica(site: &Site, owner: &Site, settings: &str) {
    let path = owner.replica();
    let replica = format!("path: {}, sync-interval: 20ms, {settings}", path.display());
    site.configure("monitor-interval: 20ms", &[&replica]);
}

/// A replica and all of its forks.
fn histories(owner: &Site) -> Vec<PathBuf> {
    let mut histories = owner.forks();
    histories.push(owner.replica());
    histories
}

pub(crate) fn restored(site: &Site, replica: &Path) -> PathBuf {
    let output = site.fresh("restored");
    let url = format!("file://{}", replica.display());
    let arguments = ["restore", "-o", output.to_str().unwrap(), &url];
    site.start(litestream(site.home()).args(arguments)).finish();
    output
}

/// Expects that each database equals a restore of one of the histories.
pub(crate) fn check_all(owner: &Site, sites: &[&Site]) {
    let restored: Vec<PathBuf> =
        histories(owner).iter().map(|replica| restored(owner, replica)).collect();
    for site in sites {
        settle(&site.database());
        let database = fs::read(site.database()).unwrap();
        let found = restored.iter().any(|restored| fs::read(restored).unwrap() == database);
        assert!(found, "{} is in no history", site.database().display());
    }
    for replica in histories(owner) {
        let url = format!("file://{}", replica.display());
        let arguments = ["verify", "-full", &url];
        owner.start(litestream(owner.home()).args(arguments)).finish();
    }
}

/// A copy of a volume, whose daemon uses the same replica.
pub(crate) fn copy_of(owner: &Site) -> Site {
    let copy = Site::new();
    share_replica(&copy, owner, "");
    settle(&owner.database());
    fs::copy(owner.database(), copy.database()).unwrap();
    copy_state(owner, &copy);
    copy
}

/// A copy of a volume while the database is in use, and nobody writes.
pub(crate) fn copy_with_log(owner: &Site) -> Site {
    let copy = Site::new();
    share_replica(&copy, owner, "");
    for suffix in ["", "-wal"] {
        let [from, to] =
            [owner, &copy].map(|site| format!("{}{suffix}", site.database().display()));
        fs::copy(from, to).unwrap();
    }
    copy_state(owner, &copy);
    copy
}

/// Another machine, which continues from what the replica holds.
pub(crate) fn restored_from(owner: &Site) -> Site {
    let other = Site::new();
    share_replica(&other, owner, "");
    let database = other.database();
    let arguments = ["restore", database.to_str().unwrap()];
    other.start(&mut other.command(&arguments)).finish();
    other
}

fn copy_state(from: &Site, to: &Site) {
    let mut copy = std::process::Command::new("cp");
    let status = copy.arg("-r").args([from.state(), to.state()]).status().unwrap();
    assert!(status.success());
}

/// Writes another row.
pub(crate) fn insert(connection: &Connection, number: u32) {
    connection.execute("INSERT INTO t (number) VALUES (?)", [number]).unwrap();
}

/// Replicates a database whose replica is empty, until there is a snapshot. What is written
/// afterwards is not in the snapshot: once a restore has it, everything was sent.
pub(crate) fn begin(site: &Site) -> Process {
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    daemon
}

/// Waits until a restore from the owner's replica has all rows of a database.
pub(crate) fn all_is_sent(owner: &Site, site: &Site) {
    eventually("all is sent", || restored_rows(owner) == rows(&site.database()));
}

pub(crate) fn rows(database: &Path) -> i64 {
    open(database).query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

fn restored_rows(owner: &Site) -> i64 {
    let output = owner.fresh("restored");
    let url = format!("file://{}", owner.replica().display());
    let arguments = ["restore", "-o", output.to_str().unwrap(), &url];
    let mut restore = owner.start(litestream(owner.home()).args(arguments));
    if restore.wait() == 0 { rows(&output) } else { -1 }
}
