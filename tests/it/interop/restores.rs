//! Litestream restores what we wrote, and we restore what it wrote, to the same bytes.

use std::thread;
use std::time::{Duration, SystemTime};

use crate::seaweed;
use crate::support::{
    Background, Ledger, Peer, Site, assert_same, eventually, open, settle, timestamp,
};

/// Settings that make many logs and some snapshots.
const DATABASE: &str = "monitor-interval: 10ms, min-checkpoint-page-count: 20";
const REPLICA: &str = "sync-interval: 10ms, snapshot-interval: 150ms";

fn url(site: &Site) -> String {
    format!("file://{}", site.replica().display())
}

/// Restores with a peer, and compares with a file.
fn check_peer(
    peer: Peer,
    site: &Site,
    arguments: &[&str],
    source: &str,
    expected: &std::path::Path,
) {
    let restored = site.fresh("restored");
    peer.restore(site.home(), &restored, arguments, source);
    assert_same(expected, &restored);
}

/// Writes a replica with everything that there can be: snapshots, several logs, pages that were
/// sent after a stop, and a database that shrank.
///
/// Litestream takes the newest generation by the store's clock, which ticks every `tick`. What is
/// sent at the end is therefore of a single generation: it goes on before the database shrinks.
fn write_history(site: &Site, tick: Duration) {
    site.write(1, 300);
    for seed in 2..5 {
        let daemon = site.replicate();
        for step in 0..6 {
            site.write(10 * seed + step, 20);
            thread::sleep(Duration::from_millis(30));
        }
        daemon.stop();
        settle(&site.database());
        let sql = "UPDATE t SET content = NULL WHERE id IN (SELECT id FROM t LIMIT 5)";
        open(&site.database()).execute_batch(sql).unwrap();
    }
    thread::sleep(tick);
    let mut daemon = site.replicate();
    daemon.wait_for("the generation goes on");
    let sql = "DELETE FROM t WHERE id % 2; VACUUM";
    open(&site.database()).execute_batch(sql).unwrap();
    daemon.wait_for("snapshot written");
    daemon.stop();
    site.check();
}

#[test]
fn litestream_restores_our_directories() {
    let site = Site::with(DATABASE, REPLICA);
    write_history(&site, Duration::from_millis(20));
    let listing = site.listing();
    assert!(listing.snapshots() > 1 && listing.segments() > 4, "{listing:?}");
    for peer in Peer::ALL {
        check_peer(peer, &site, &[], &url(&site), &site.database());
    }
}

#[test]
fn litestream_restores_a_replica_that_is_only_a_snapshot() {
    let site = Site::new();
    site.write(1, 30);
    site.replicate().stop();
    site.check();
    for peer in Peer::ALL {
        check_peer(peer, &site, &[], &url(&site), &site.database());
    }
}

#[test]
fn litestream_restores_our_buckets() {
    let bucket = seaweed::bucket();
    let site = Site::new();
    let s3 = bucket.settings();
    site.configure(DATABASE, &[&format!("{s3}, sync-interval: 100ms, snapshot-interval: 1s")]);
    write_history(&site, Duration::from_secs(1));
    // 0.5 knows other settings, and does not know all of ours.
    site.configure("monitor-interval: 1s", &[&s3]);
    let config = site.config();
    let arguments = ["-config", config.to_str().unwrap()];
    for peer in Peer::ALL {
        let database = site.database();
        check_peer(peer, &site, &arguments, database.to_str().unwrap(), &database);
    }
}

#[test]
fn litestream_restores_our_indexes_and_moments_as_we_do() {
    let site = Site::with(DATABASE, REPLICA);
    let path = site.database();
    let ledger = Ledger::open(&path);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let mut moments = Vec::new();
    for index in 1..=5 {
        eventually("a new log", || {
            ledger.step();
            site.listing().only().last_index() >= index
        });
        moments.push(SystemTime::now());
    }
    ledger.step();
    drop(ledger);
    daemon.stop();
    for moment in moments {
        let arguments = ["-timestamp", &timestamp(moment)];
        check_peer(Peer::V0_3, &site, &arguments, &url(&site), &site.restore(&arguments));
    }
    let last = site.listing().only().last_index();
    for index in 0..=last {
        let arguments = ["-index", &format!("{index:x}")];
        check_peer(Peer::V0_3, &site, &arguments, &url(&site), &site.restore(&arguments));
    }
}

#[test]
fn litestream_restores_while_we_replicate() {
    let site = Site::with(DATABASE, REPLICA);
    let path = site.database();
    let ledger = Ledger::open(&path);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let writer = Background::start(move |_| {
        ledger.step();
        thread::sleep(Duration::from_millis(3));
    });
    let mut moves = 0;
    for _ in 0..8 {
        for peer in Peer::ALL {
            let restored = site.fresh("restored");
            peer.restore(site.home(), &restored, &[], &url(&site));
            let found = Ledger::audit(&restored);
            assert!(moves <= found, "{peer:?}: from {moves} moves back to {found}");
            moves = found;
        }
    }
    writer.finish();
    daemon.stop();
    site.check();
}

#[test]
fn we_restore_what_litestream_wrote() {
    // Without further snapshots: Litestream replaces a snapshot by a later one of the same index.
    let site = Site::with(DATABASE, "sync-interval: 10ms");
    let path = site.database();
    let ledger = Ledger::open(&path);
    let daemon = site.replicate_by(Peer::V0_3);
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let mut moments = Vec::new();
    for _ in 0..6 {
        for _ in 0..10 {
            ledger.step();
            thread::sleep(Duration::from_millis(5));
        }
        moments.push(SystemTime::now());
        thread::sleep(Duration::from_millis(10));
    }
    // The end of the history cannot be restored by a time.
    ledger.step();
    drop(ledger);
    site.stop_peer(daemon, Ledger::QUESTION);
    assert_eq!(Ledger::audit(&site.restore(&[])), 61);
    for moment in moments {
        let arguments = ["-timestamp", &timestamp(moment)];
        check_peer(Peer::V0_3, &site, &arguments, &url(&site), &site.restore(&arguments));
    }
}
