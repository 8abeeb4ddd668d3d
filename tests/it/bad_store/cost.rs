//! The number of requests, which S3 charges for.

use std::thread;
use std::time::{Duration, Instant};

use super::Remote;
use crate::rogue::Kind;
use crate::support::{Process, eventually, open};

fn requests(remote: &Remote) -> usize {
    remote.store.requests().len()
}

/// Waits until everything was sent and no more requests arrive.
fn come_to_rest(remote: &Remote, daemon: &Process) {
    eventually("rest", || {
        let before = requests(remote);
        thread::sleep(Duration::from_secs(1));
        assert!(!daemon.says("failed"), "{}", daemon.log());
        requests(remote) == before
    });
}

#[test]
fn commits_within_an_interval_share_a_request() {
    const INTERVAL: Duration = Duration::from_millis(500);
    let remote = Remote::with("checkpoint-interval: 0s", "sync-interval: 500ms");
    let daemon = remote.replicate();
    come_to_rest(&remote, &daemon);
    let (before, began) = (requests(&remote), Instant::now());
    let connection = open(&remote.site.database());
    for row in 0..200 {
        connection.execute("INSERT INTO t (number) VALUES (?)", [row]).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    drop(connection);
    come_to_rest(&remote, &daemon);
    let sent = remote.store.requests().split_off(before);
    let count = |kind| sent.iter().filter(|request| request.kind == kind).count() as u128;
    // An interval may be a little shorter, and a last one begins after the last commit.
    let puts_max = began.elapsed().as_millis() / INTERVAL.mul_f64(0.8).as_millis() + 2;
    let puts = count(Kind::Put);
    assert!((1..=puts_max).contains(&puts), "{puts} and not {puts_max}");
    // Listings show whether another daemon has taken over the replica.
    let lists_max = began.elapsed().as_secs() / 15 + 1;
    assert!(count(Kind::List) <= lists_max.into(), "{sent:?}");
    // After each put, the daemon looks for the name that another daemon would use, and at times
    // for the snapshot.
    assert!(count(Kind::Get) <= puts + u128::from(lists_max), "{sent:?}");
    assert_eq!(sent.len() as u128, puts + count(Kind::Get) + count(Kind::List), "{sent:?}");
    daemon.stop();
    remote.check();
}

#[test]
fn an_idle_database_costs_nothing() {
    let remote = Remote::new();
    let daemon = remote.replicate();
    come_to_rest(&remote, &daemon);
    let before = requests(&remote);
    thread::sleep(Duration::from_secs(4));
    let more = remote.store.requests().split_off(before);
    assert!(more.is_empty(), "{more:?}");
    daemon.stop();
}

#[test]
fn a_start_on_a_replica_that_goes_on_takes_six_requests() {
    let remote = Remote::new();
    remote.fill();
    let before = requests(&remote);
    let daemon = remote.site.replicate();
    come_to_rest(&remote, &daemon);
    daemon.stop();
    let kinds: Vec<Kind> =
        remote.store.requests().split_off(before).iter().map(|request| request.kind).collect();
    // The object that is stored and deleted shows, once per bucket, whether it keeps to
    // conditional writes.
    let expected = [Kind::List, Kind::Put, Kind::Put, Kind::Delete, Kind::List, Kind::Get];
    assert_eq!(kinds, expected);
}

#[test]
fn a_first_start_takes_a_few_requests() {
    let remote = Remote::new();
    let daemon = remote.replicate();
    come_to_rest(&remote, &daemon);
    let (requests, lists) = (requests(&remote), remote.store.count(Kind::List));
    // Listings show whether the store answers, what it holds, also in the format of Litestream
    // 0.5, and whether another daemon begins at the same time. The others store the snapshot, and
    // find out whether the bucket keeps to conditional writes.
    assert!(lists <= 5 && requests <= lists + 5, "{:?}", remote.store.requests());
    daemon.stop();
}

#[test]
fn a_restore_reads_each_object_once() {
    let remote = Remote::new();
    remote.fill();
    let (objects, before) = (remote.store.keys().len(), requests(&remote));
    remote.restored();
    let made = remote.store.requests().split_off(before);
    let count = |kind| made.iter().filter(|request| request.kind == kind).count();
    let (lists, gets) = (count(Kind::List), count(Kind::Get));
    assert_eq!(made.len(), lists + gets, "{made:?}");
    // Listings are for the generations, the objects of each, and the forks. Reads are for the
    // objects, and once for the seal of the snapshot.
    assert!(lists <= 3 && gets <= objects + 1, "{objects} objects: {made:?}");
}
