//! Replicas that are restored and checked while they are written.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::support::{Process, Site, eventually, open};

fn rows(database: &Path) -> i64 {
    open(database).query_one("SELECT count(*) FROM victim", [], |row| row.get(0)).unwrap()
}

/// The rows of what was proven last; -1 if nothing was.
fn proven_rows(site: &Site) -> i64 {
    let output = site.fresh("restored");
    let database = site.database();
    let [to, from] = [&output, &database].map(|path| path.to_str().unwrap());
    let arguments = ["restore", "-o", to, "-last-verified", from];
    let mut restore = site.start(&mut site.command(&arguments));
    if restore.wait() == 0 { rows(&output) } else { -1 }
}

fn insert(connection: &Connection, count: u32) {
    for _ in 0..count {
        connection.execute_batch("INSERT INTO victim VALUES (randomblob(100))").unwrap();
    }
}

/// What a broken disk did to the database was replicated, until the last good version expired.
#[test]
fn history_from_before_the_damage_is_kept() {
    let site = Site::with(
        "monitor-interval: 20ms",
        "sync-interval: 20ms, validation-interval: 100ms, snapshot-interval: 300ms, \
         retention: 500ms, retention-check-interval: 100ms",
    );
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE victim (x); CREATE INDEX found ON victim (x)").unwrap();
    let mut daemon = site.replicate();
    insert(&connection, 20);
    eventually("it is proven", || proven_rows(&site) == 20);

    // Pages that belong to nothing.
    connection
        .execute_batch(
            "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'found';
             PRAGMA writable_schema = OFF",
        )
        .unwrap();
    insert(&connection, 1);
    daemon.wait_for("the database itself is damaged");
    eventually("something would expire", || {
        insert(&connection, 1);
        daemon.says("expired history is kept")
    });
    assert_eq!(proven_rows(&site), 20);
    // It was said at each look for expired history.
    for _ in 0..3 {
        let newest = site.listing().snapshots();
        eventually("another snapshot", || {
            insert(&connection, 1);
            site.listing().snapshots() > newest
        });
    }
    assert_eq!(daemon.log().matches("expired history is kept").count(), 1, "{}", daemon.log());

    connection.execute_batch("VACUUM").unwrap();
    let count = rows(&site.database());
    eventually("it is mended", || proven_rows(&site) == count);
    let oldest = |site: &Site| site.listing().generations[0].snapshots.first().cloned();
    let before = oldest(&site);
    eventually("history expires again", || {
        insert(&connection, 1);
        oldest(&site) != before
    });
    drop(connection);
    daemon.stop();
    site.check();
}

#[test]
fn a_fork_is_validated_in_the_place_of_its_replica() {
    let settings = "sync-interval: 20ms, validation-interval: 100ms";
    let site = Site::with("monitor-interval: 20ms", settings);
    site.write(1, 20);
    site.replicate().stop();
    fs::remove_file(site.database()).unwrap();
    fs::remove_dir_all(site.state()).unwrap();
    site.write(2, 20);
    let mut daemon = site.replicate();
    daemon.wait_for("status=ok");
    daemon.stop();
    assert!(site.forks()[0].join("verified").exists());
    site.check_fork();
}

#[test]
fn without_any_proof_there_is_nothing_to_restore() {
    let site = Site::new();
    site.write(1, 20);
    site.replicate().stop();
    let database = site.database();
    let arguments = ["restore", "-o", "/nowhere/x", "-last-verified", database.to_str().unwrap()];
    let mut restore = site.start(&mut site.command(&arguments));
    assert_eq!(restore.wait(), 1);
    assert!(restore.says("nothing was verified yet"), "{}", restore.log());
}

/// Settings with which nothing but the first validation has a reason to read all.
const ADDED: &str = "sync-interval: 20ms, validation-interval: 200ms";

/// Each validation restored all there was, however little had been added.
#[test]
fn only_what_was_added_is_read() {
    let site = Site::with("monitor-interval: 20ms, min-checkpoint-page-count: 10", ADDED);
    site.write(1, 50);
    let mut daemon = site.replicate();
    daemon.wait_for("identical to the source");
    daemon.wait_for("segments=0");
    // Beyond the end of several logs, and with pages that go and come back.
    let connection = open(&site.database());
    let steps =
        ["DELETE FROM t WHERE id % 2", "VACUUM", "INSERT INTO t (content) SELECT content FROM t"];
    for sql in steps.iter().cycle().take(12) {
        connection.execute_batch(sql).unwrap();
        let seen = proofs(&daemon);
        eventually("it is proven", || proofs(&daemon) > seen);
    }
    assert_eq!(daemon.log().matches("restored").count(), 1, "{}", daemon.log());
    drop(connection);
    daemon.stop();
    site.check();
}

/// How often what was added was found to be right.
fn proofs(daemon: &Process) -> usize {
    let log = daemon.log();
    log.lines().filter(|line| line.contains("validator") && !line.contains("segments=0")).count()
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
    for damage in damage {
        let site = Site::with("monitor-interval: 20ms", ADDED);
        site.write(1, 20);
        let mut daemon = site.replicate();
        daemon.wait_for("identical to the source");
        let connection = open(&site.database());
        for id in 0..4 {
            let segments = site.listing().segments();
            connection.execute("INSERT INTO t (number) VALUES (?)", [id]).unwrap();
            eventually("a segment", || site.listing().segments() > segments);
        }
        eventually("it is proven", || {
            daemon.log().lines().last().is_some_and(|line| line.contains("segments=0"))
        });
        let generation = site.listing().only().name.clone();
        let directory = site.replica().join("generations").join(generation).join("wal");
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        damage(&names[2]);
        daemon.wait_for("validator: the replica cannot be restored");
        let name = names[2].file_name().unwrap().to_str().unwrap();
        assert!(daemon.log().contains(name), "{name}: {}", daemon.log());
        drop(connection);
        daemon.stop();
    }
}
