//! Objects that change after they were proven.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rusqlite::Connection;

use super::ADDED;
use crate::support::{Process, Site, eventually, exchange, open};

/// A replica of several segments, all of which are proven.
struct ProvenReplica {
    /// Removed with this value.
    _site: Site,
    daemon: Process,
    /// Keeps the log from being deleted.
    connection: Connection,
    segments: Vec<PathBuf>,
}

impl ProvenReplica {
    fn new() -> Self {
        let site = Site::with("monitor-interval: 20ms", ADDED);
        site.write(1, 20);
        let daemon = site.replicate();
        Self::of(site, daemon)
    }

    fn of(site: Site, mut daemon: Process) -> Self {
        daemon.wait_for("identical to the source");
        let connection = open(&site.database());
        for id in 0..4 {
            add_segment(&site, &connection, id);
        }
        eventually("it is proven", || {
            daemon.log().lines().last().is_some_and(|line| line.contains("segments=0"))
        });
        let segments = segments(&site);
        Self { _site: site, daemon, connection, segments }
    }

    /// Expects that the next validation names one of these objects.
    fn expect_named(mut self, objects: &[&Path]) {
        self.daemon.wait_for("validation failed, trying again");
        let log = self.daemon.log();
        let line = log.lines().find(|line| line.contains("validation failed")).unwrap();
        let name = |path: &&Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut names = objects.iter().map(name);
        assert!(names.any(|name| line.contains(&name)), "{objects:?}: {line}");
        drop(self.connection);
        self.daemon.kill();
    }
}

fn add_segment(site: &Site, connection: &Connection, id: u32) {
    let segments = site.listing().segments();
    connection.execute("INSERT INTO t (number) VALUES (?)", [id]).unwrap();
    eventually("a segment", || site.listing().segments() > segments);
}

fn segments(site: &Site) -> Vec<PathBuf> {
    let generation = site.listing().only().name.clone();
    let directory = site.replica().join("generations").join(generation).join("wal");
    let entries = fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "lz4")).collect();
    paths.sort();
    paths
}

#[test]
fn what_happens_to_an_object_after_it_was_proven_is_named() {
    let damage: [fn(&Path); 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| {
            let mut content = fs::read(path).unwrap();
            let at = content.len() / 2;
            content[at] ^= 1;
            fs::write(path, content).unwrap();
        },
        |path| fs::write(path, "").unwrap(),
    ];
    let check = |damage: fn(&Path)| {
        let mut replica = ProvenReplica::new();
        let object = replica.segments[2].clone();
        damage(&object);
        replica.daemon.wait_for("validator: the replica cannot be restored");
        replica.expect_named(&[&object]);
    };
    thread::scope(|scope| {
        for damage in damage {
            scope.spawn(move || check(damage));
        }
    });
}

#[test]
fn objects_that_have_changed_places_are_named() {
    let replica = ProvenReplica::new();
    let [one, other] = [1, 2].map(|at| replica.segments[at].clone());
    exchange(&one, &other);
    replica.expect_named(&[&one, &other]);
}

/// No later object shows that it is gone.
#[test]
fn a_newest_object_that_is_gone_is_named() {
    let replica = ProvenReplica::new();
    let newest = replica.segments.last().unwrap().clone();
    fs::remove_file(&newest).unwrap();
    replica.expect_named(&[&newest]);
}

/// Before the first validation nothing is proven, but the store has acknowledged the object.
#[test]
fn a_newest_object_that_is_gone_before_anything_is_proven_is_named() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 20ms, validation-interval: 2s");
    let daemon = site.begin();
    let connection = open(&site.database());
    add_segment(&site, &connection, 1);
    add_segment(&site, &connection, 2);
    eventually("it is acknowledged", || site.staged().is_empty());
    let newest = segments(&site).pop().unwrap();
    fs::remove_file(&newest).unwrap();
    let segments = Vec::new();
    ProvenReplica { _site: site, daemon, connection, segments }.expect_named(&[&newest]);
}

fn copy(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    assert!(copy.arg("-r").args([from, to]).status().unwrap().success());
}

/// A replica, and an older version of its first segment after a restart: what was sent there
/// before the volume was reset.
fn put_back() -> (Site, Process, PathBuf, Vec<u8>) {
    let site = Site::with("monitor-interval: 20ms", ADDED);
    site.write(1, 20);
    site.replicate().stop();
    let before = site.keep_copy();
    copy(&site.state(), &site.path("state before"));
    let known = segments(&site);
    let go_on = |number: u32| {
        open(&site.database()).execute("INSERT INTO t (number) VALUES (?)", [number]).unwrap();
        let mut daemon = site.replicate();
        daemon.wait_for("the generation goes on");
        let mut added = Vec::new();
        eventually("a segment", || {
            added = segments(&site);
            added.retain(|path| !known.contains(path));
            !added.is_empty()
        });
        (daemon, added)
    };
    let (daemon, added) = go_on(1);
    daemon.stop();
    let (object, older) = (added[0].clone(), fs::read(&added[0]).unwrap());
    for path in &added {
        fs::remove_file(path).unwrap();
    }
    fs::copy(before, site.database()).unwrap();
    fs::remove_dir_all(site.state()).unwrap();
    copy(&site.path("state before"), &site.state());
    let (daemon, added) = go_on(2);
    assert_eq!(added[0], object);
    assert_ne!(fs::read(&object).unwrap(), older);
    (site, daemon, object, older)
}

/// The older version is intact, and follows what comes before it.
#[test]
fn an_older_version_of_an_object_is_named() {
    let (site, daemon, object, older) = put_back();
    let replica = ProvenReplica::of(site, daemon);
    let at = replica.segments.iter().position(|path| *path == object).unwrap();
    let behind = replica.segments[at + 1].clone();
    fs::write(&object, older).unwrap();
    replica.expect_named(&[&object, &behind]);
}

/// A restore would give it, and report it as identical to the source.
#[test]
fn an_older_version_of_the_newest_object_is_named() {
    let (site, mut daemon, object, older) = put_back();
    daemon.wait_for("identical to the source");
    daemon.wait_for("segments=0");
    fs::write(&object, older).unwrap();
    let connection = open(&site.database());
    let segments = Vec::new();
    ProvenReplica { _site: site, daemon, connection, segments }.expect_named(&[&object]);
}
