//! Replicas that are restored and checked while they are written.

use std::path::Path;

use rusqlite::Connection;

use crate::support::{Site, eventually, open};

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
    std::fs::remove_file(site.database()).unwrap();
    std::fs::remove_dir_all(site.state()).unwrap();
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
