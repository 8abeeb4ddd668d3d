//! After a loss of power, what was not synced may be gone, wholly or in part, and in any order.
#![cfg(debug_assertions)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::{Site, eventually, settle};

const PAGE: u64 = 4096;

/// A database whose log has some commits that are on the replica, and that nobody uses any more.
fn interrupted(stop_cleanly: bool) -> Site {
    let site = Site::new();
    site.write(1, 100);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    for seed in 2..6 {
        let segments = site.listing().segments();
        site.write(seed, 5);
        eventually("a segment", || site.listing().segments() > segments);
    }
    if stop_cleanly {
        daemon.stop();
    } else {
        daemon.kill();
    }
    fs::remove_file(site.path("app.db-shm")).unwrap();
    site
}

/// What was in the replica before the loss, and the database that it led to.
struct Before {
    objects: Vec<(PathBuf, Vec<u8>)>,
    database: PathBuf,
}

impl Before {
    fn of(site: &Site) -> Self {
        let (mut objects, mut left) = (Vec::new(), vec![site.replica().join("generations")]);
        while let Some(path) = left.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => left.extend(entries.map(|entry| entry.unwrap().path())),
                Err(_) => objects.push((path.clone(), fs::read(path).unwrap())),
            }
        }
        Self { objects, database: site.restore(&[]) }
    }

    /// Expects that a database that has lost some of this went on in a fork, or after it, and that
    /// all of it is still there.
    fn check(&self, site: &Site) {
        if site.forks().is_empty() {
            site.check();
        } else {
            site.check_fork();
            site.check_restore(&[], &self.database);
        }
        for (path, content) in &self.objects {
            assert!(fs::read(path).unwrap() == *content, "{} is another one", path.display());
        }
        check_objects(site);
    }
}

/// Expects that no object of any generation has a defect.
fn check_objects(site: &Site) {
    let path = site.database();
    let verify = ["verify", "-full", path.to_str().unwrap()];
    site.start(&mut site.command(&verify)).finish();
    for generation in site.listing().generations {
        site.restore(&["-generation", &generation.name]);
    }
}

fn log(site: &Site) -> fs::File {
    fs::File::options().write(true).open(site.path("app.db-wal")).unwrap()
}

/// The end of the log is on the disk, and something before it is not. The last frame is still the
/// one that was read, but replication must not go on after commits that the database has lost: a
/// restored database would be a mixture of both, and be reported as identical.
#[test]
fn a_hole_in_the_log_is_noticed() {
    for stop_cleanly in [false, true] {
        let site = interrupted(stop_cleanly);
        let before = Before::of(&site);
        let hole = log(&site);
        let frames = (hole.metadata().unwrap().len() - 32) / (PAGE + 24);
        hole.write_all_at(&[0; 512], 32 + frames / 2 * (PAGE + 24)).unwrap();
        site.reboot();
        let daemon = site.replicate();
        site.write(7, 5);
        daemon.stop();
        before.check(&site);
    }
}

#[test]
fn a_log_that_lost_its_end_is_noticed() {
    for stop_cleanly in [false, true] {
        for part in 0..4 {
            let site = interrupted(stop_cleanly);
            let before = Before::of(&site);
            let log = log(&site);
            let blocks = log.metadata().unwrap().len() / 512;
            log.set_len(blocks * part / 4 * 512).unwrap();
            site.reboot();
            if part % 2 == 0 {
                site.write(7, 5);
            }
            site.replicate().stop();
            before.check(&site);
        }
    }
}

/// The cursor is lost, and a segment that is staged for an unreachable replica is only partly
/// there. It cannot be trusted, and must not be sent.
#[test]
fn a_staged_segment_that_may_be_damaged_is_not_sent() {
    let damage: [fn(&Path); 3] = [
        |cursor| fs::remove_file(cursor).unwrap(),
        |cursor| fs::write(cursor, [0; 200]).unwrap(),
        |_| (),
    ];
    for damage in damage {
        let site = Site::new();
        site.write(1, 100);
        let daemon = site.replicate();
        eventually("a snapshot", || site.listing().snapshots() > 0);
        site.arm("object-writing = eio");
        site.write(2, 20);
        eventually("a staged segment", || !site.staged().is_empty());
        daemon.kill();
        site.disarm();
        for segment in site.staged() {
            fs::File::options()
                .write(true)
                .open(segment)
                .unwrap()
                .write_all_at(&[0; 64], 0)
                .unwrap();
        }
        damage(&site.state().join("cursor"));
        site.reboot();
        site.replicate().stop();
        settle(&site.database());
        check_objects(&site);
        // The database has all that was ever sent.
        assert_eq!(site.forks(), [] as [PathBuf; 0]);
        site.check();
    }
}
