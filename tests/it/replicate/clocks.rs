//! Clocks that are moved by days: what was stored before is from the future, or very old.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::support::{Process, Site, eventually, open, settle};

const DAY: Duration = Duration::from_hours(24);

/// Which way the clock is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Everything stored so far is from the future.
    Back,
    /// Everything stored so far is old.
    Forward,
}

impl Clock {
    /// Moves the times of all objects instead of the clock.
    fn set(self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.set(&path);
                continue;
            }
            let file = File::open(&path).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            let moved = match self {
                Self::Back => modified + 3 * DAY,
                Self::Forward => modified - 3 * DAY,
            };
            file.set_modified(moved).unwrap();
        }
    }
}

fn site() -> Site {
    let retention = "snapshot-interval: 200ms, retention: 24h, retention-check-interval: 50ms";
    let site = Site::with("monitor-interval: 20ms", &format!("sync-interval: 20ms, {retention}"));
    open(&site.database()).execute_batch("CREATE TABLE t (number INTEGER)").unwrap();
    site
}

const FILL: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9000)
    INSERT INTO t SELECT i FROM n";

fn insert(connection: &Connection) {
    connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
}

/// Writes until there are `count` more snapshots. Meanwhile the daemon looks for expired history.
fn write(site: &Site, count: usize) -> Process {
    let connection = open(&site.database());
    let daemon = site.replicate();
    let said = || daemon.log().matches("snapshot written").count();
    eventually("snapshots", || {
        insert(&connection);
        said() >= count
    });
    daemon
}

fn objects(site: &Site) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![site.replica().join("generations")]);
    while let Some(path) = left.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => left.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => found.push(path),
        }
    }
    found
}

#[test]
fn what_is_needed_outlives_a_clock_that_is_set() {
    for clock in [Clock::Back, Clock::Forward] {
        let site = site();
        write(&site, 3).stop();
        let (before, kept) = (objects(&site), site.keep_copy());
        let last = site.listing().only().last_index();
        clock.set(&site.replica());
        site.check_restore(&[], &kept);
        let daemon = write(&site, 3);
        if clock == Clock::Forward {
            eventually("what is old expires", || daemon.says("delete expired history"));
        }
        let log = daemon.stop();
        assert!(!log.contains("DIVERGED") && !log.contains("generation ended"), "{log}");
        site.check();
        site.start(&mut site.command(&["verify", "-full"])).finish();
        let now = objects(&site);
        let gone = before.iter().filter(|object| !now.contains(object)).count();
        // The state from before the change is within the retention, whichever way.
        assert_eq!(gone == 0, clock == Clock::Back, "{gone} are gone\n{log}");
        settle(&site.database());
        site.restore(&["-index", &format!("{last:08x}")]);
    }
}

/// The times of a generation that has ended do not show whether another one has begun since.
#[test]
fn a_generation_from_before_is_kept_when_the_clock_is_set() {
    for clock in [Clock::Back, Clock::Forward] {
        let site = site();
        write(&site, 1).stop();
        let kept = site.keep_copy();
        let generation = site.listing().only().name.clone();
        clock.set(&site.replica());
        // So much changes that a new generation begins.
        open(&site.database()).execute_batch(FILL).unwrap();
        settle(&site.database());
        write(&site, 3).stop();
        let listing = site.listing();
        assert_eq!(listing.generations.len(), 2, "{listing:?}");
        site.check_restore(&["-generation", &generation], &kept);
        let newer = listing.generations.iter().find(|found| found.name != generation).unwrap();
        settle(&site.database());
        site.check_restore(&["-generation", &newer.name], &site.database());
        if clock == Clock::Forward {
            site.check();
        }
    }
}
