//! Every moment that the retention promises can be restored, at any time.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::seaweed;
use crate::support::{
    Background, Generation, Ledger, Site, all_is_sent, eventually, settle, timestamp,
};

#[test]
fn restores_work_while_history_is_written_and_deleted() {
    let site = Site::with(
        "monitor-interval: 5ms, min-checkpoint-page-count: 20",
        "sync-interval: 10ms, snapshot-interval: 200ms, retention: 400ms, retention-check-interval: 100ms",
    );
    let path = site.database();
    let ledger = Ledger::open(&path);
    ledger.step();
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let first = site.listing().only().snapshots[0].clone();
    let writer = Background::start(move |_| {
        ledger.step();
        thread::sleep(Duration::from_millis(2));
    });
    let mut moves = 0;
    for _ in 0..25 {
        let found = Ledger::audit(&site.restore(&[]));
        assert!(moves <= found, "from {moves} moves back to {found}");
        moves = found;
    }
    eventually("the first snapshot expired", || !site.listing().only().snapshots.contains(&first));
    let total = writer.finish();
    let log = daemon.stop();
    assert!(!log.contains("level=ERROR"), "{log}");
    site.check();
    assert_eq!(Ledger::audit(&site.restore(&[])), i64::try_from(total).unwrap() + 1);
    let listing = site.listing();
    assert!(listing.only().snapshots.len() < 8, "{listing:?}");
}

#[test]
fn each_recorded_moment_is_restored() {
    let site = Site::with(
        "monitor-interval: 5ms, min-checkpoint-page-count: 20",
        "sync-interval: 5ms, snapshot-interval: 100ms",
    );
    let path = site.database();
    let ledger = Ledger::open(&path);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let mut moments = Vec::new();
    for moves in 1..=12 {
        let before = site.listing().segments();
        ledger.step();
        eventually("a segment", || site.listing().segments() > before);
        // The clock for file times ticks only every few milliseconds.
        thread::sleep(Duration::from_millis(20));
        moments.push((moves, SystemTime::now()));
        thread::sleep(Duration::from_millis(20));
    }
    drop(ledger);
    daemon.stop();
    for (moves, moment) in moments {
        let restored = site.restore(&["-timestamp", &timestamp(moment)]);
        assert_eq!(Ledger::audit(&restored), moves);
        fs::remove_file(restored).unwrap();
    }
    settle(&site.database());
    let later = timestamp(SystemTime::now() + Duration::from_hours(1));
    site.check_restore(&["-timestamp", &later], &site.database());
}

/// S3 tells whole seconds, and a directory more than is printed: the last transactions were missing
/// from what was restored to a time that a listing showed.
#[test]
fn the_end_that_is_listed_includes_all() {
    let bucket = seaweed::bucket();
    for replica in [None, Some(bucket.settings())] {
        let site = Site::with("monitor-interval: 5ms", "sync-interval: 10ms");
        if let Some(settings) = &replica {
            site.configure("monitor-interval: 5ms", &[&format!("{settings}, sync-interval: 10ms")]);
        }
        let ledger = Ledger::open(&site.database());
        let mut daemon = site.replicate();
        daemon.wait_for("snapshot written");
        let until = SystemTime::now() + Duration::from_millis(fastrand::u64(1000..2000));
        let mut moves = 0;
        while SystemTime::now() < until {
            ledger.step();
            moves += 1;
            thread::sleep(Duration::from_millis(20));
        }
        drop(ledger);
        daemon.stop();
        for (command, key) in [("generations", "end"), ("verify", "to")] {
            let path = site.database();
            let arguments = [command, "-json", path.to_str().unwrap()];
            let listed = site.start(&mut site.command(&arguments)).finish();
            let json: Vec<Value> = serde_json::from_str(&listed).unwrap();
            let restored = site.restore(&["-timestamp", json[0][key].as_str().unwrap()]);
            assert_eq!(Ledger::audit(&restored), moves, "{command} {listed}");
        }
    }
}

/// A rule of the bucket may delete old objects, which is everything of a database that nobody
/// writes to. It must not be left without a backup and reported as good.
#[test]
fn what_is_lost_of_an_idle_database_is_stored_again() {
    for (retention, is_snapshot) in [("24h", true), ("0s", true), ("24h", false)] {
        let site = Site::with(
            "monitor-interval: 5ms",
            &format!("sync-interval: 5ms, retention: {retention}, retention-check-interval: 300ms"),
        );
        let daemon = site.begin();
        let snapshots = site.listing();
        site.write(2, 3);
        all_is_sent(&site, &site);
        let Generation { name, segments, .. } = site.listing().only().clone();
        let generation = site.replica().join("generations").join(name);
        let lost = if is_snapshot {
            format!("snapshots/{}.snapshot.lz4", snapshots.only().snapshots[0])
        } else {
            format!("wal/{}.wal.lz4", segments.last().unwrap())
        };
        fs::remove_file(generation.join(lost)).unwrap();
        eventually("another snapshot", || daemon.log().matches("snapshot written").count() > 1);
        daemon.stop();
        site.check();
    }
}

#[test]
fn an_idle_database_gets_no_more_snapshots() {
    let site = Site::with(
        "monitor-interval: 5ms",
        "sync-interval: 5ms, snapshot-interval: 50ms, retention: 100ms, retention-check-interval: 50ms",
    );
    site.write(1, 20);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    thread::sleep(Duration::from_millis(700));
    let settled = site.listing();
    thread::sleep(Duration::from_millis(700));
    assert_eq!(site.listing(), settled);
    assert!(settled.only().snapshots.len() <= 2, "{settled:?}");
    daemon.stop();
    site.check();
}
