//! One database, replicated by us and by Litestream in turn.

use crate::support::{Peer, Site, Workload, eventually, open, settle};

const DATABASE: &str = "monitor-interval: 10ms";
const REPLICA: &str = "sync-interval: 10ms";

fn newest(site: &Site) -> String {
    let generations = site.replica().join("generations");
    let entries = std::fs::read_dir(generations).unwrap().map(|entry| entry.unwrap());
    let snapshots = entries.map(|entry| {
        let snapshots = std::fs::read_dir(entry.path().join("snapshots")).unwrap();
        let made = snapshots.map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap());
        (made.max(), entry.file_name().into_string().unwrap())
    });
    snapshots.max().unwrap().1
}

#[test]
fn the_one_takes_over_from_the_other_and_back() {
    let site = Site::with(DATABASE, REPLICA);
    site.write(1, 100);
    let mut generations = Vec::new();
    for round in 0..3 {
        let before = site.listing().snapshots();
        let theirs = site.replicate_by(Peer::V0_3);
        eventually("a snapshot of theirs", || site.listing().snapshots() > before);
        site.write(10 + round, 40);
        site.stop_peer(theirs, Workload::QUESTION);
        generations.push(newest(&site));
        assert!(site.state().join("generation").exists());
        site.check();

        let before = site.listing().snapshots();
        let ours = site.replicate();
        eventually("a snapshot of ours", || site.listing().snapshots() > before);
        site.write(20 + round, 40);
        ours.stop();
        generations.push(newest(&site));
        assert!(!site.state().join("generation").exists(), "theirs is retired");
        site.check();
    }
    generations.sort();
    generations.dedup();
    assert_eq!(generations.len(), 6, "nobody goes on with what the other began");
}

#[test]
fn litestream_may_have_died_and_the_application_still_be_there() {
    let site = Site::with(DATABASE, REPLICA);
    site.write(1, 100);
    let connection = open(&site.database());
    let theirs = site.replicate_by(Peer::V0_3);
    eventually("a snapshot of theirs", || site.listing().snapshots() == 1);
    let insert = "INSERT INTO t (content) VALUES (randomblob(20000))";
    connection.execute_batch(insert).unwrap();
    theirs.kill();
    connection.execute_batch(insert).unwrap();
    let ours = site.replicate();
    connection.execute_batch(insert).unwrap();
    eventually("a snapshot of ours", || site.listing().snapshots() == 2);
    ours.kill();
    connection.execute_batch(insert).unwrap();
    let theirs = site.replicate_by(Peer::V0_3);
    eventually("another snapshot of theirs", || site.listing().snapshots() == 3);
    connection.execute_batch(insert).unwrap();
    site.stop_peer(theirs, Workload::QUESTION);
    drop(connection);
    settle(&site.database());
    site.check();
}

#[test]
fn litestream_goes_on_in_a_restored_database() {
    let site = Site::with(DATABASE, REPLICA);
    site.write(1, 100);
    site.replicate().stop();
    settle(&site.database());
    std::fs::remove_file(site.database()).unwrap();
    let restored = site.restore(&[]);
    std::fs::rename(restored, site.database()).unwrap();
    let theirs = site.replicate_by(Peer::V0_3);
    eventually("a snapshot of theirs", || site.listing().snapshots() == 2);
    site.write(2, 20);
    site.stop_peer(theirs, Workload::QUESTION);
    site.check();
}
