//! Replicas that are restored and checked while they are written.

mod objects;
mod several;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use litestream::failpoint::Failpoint;
use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{Process, Site, eventually, open};

fn rows(database: &Path) -> i64 {
    open(database).query_one("SELECT count(*) FROM victim", [], |row| row.get(0)).unwrap()
}

/// The rows of a restore of what was last proven, or -1 if nothing was.
fn proven_rows(site: &Site) -> i64 {
    let output = site.fresh("restored");
    if start_last_verified(site, &output).wait() == 0 { rows(&output) } else { -1 }
}

/// The exit code and the log of a restore of what was last proven. If it fails, there is no file.
fn restore_last_verified(site: &Site) -> (i32, String) {
    let output = site.fresh("restored");
    let mut restore = start_last_verified(site, &output);
    let status = restore.wait();
    assert_eq!(output.exists(), status == 0, "{}", restore.log());
    (status, restore.log())
}

fn start_last_verified(site: &Site, output: &Path) -> Process {
    let database = site.database();
    let [to, from] = [output, &database].map(|path| path.to_str().unwrap());
    site.start(&mut site.command(&["restore", "-o", to, "-last-verified", from]))
}

/// Damages the database for SQLite: leaves pages that belong to nothing.
fn lose_the_index(connection: &Connection) {
    connection
        .execute_batch(
            "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'found';
             PRAGMA writable_schema = OFF",
        )
        .unwrap();
}

fn insert(connection: &Connection, count: u32) {
    for _ in 0..count {
        connection.execute_batch("INSERT INTO victim VALUES (randomblob(100))").unwrap();
    }
}

/// What a broken disk does to the database is replicated, but the last good version must not
/// expire.
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

    lose_the_index(&connection);
    insert(&connection, 1);
    daemon.wait_for("the database itself is damaged");
    eventually("something would expire", || {
        insert(&connection, 1);
        daemon.says("expired history is kept")
    });
    assert_eq!(proven_rows(&site), 20);
    // This must not be logged at each look for expired history.
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

/// A database may be damaged before it is ever validated, as when validation is turned on because
/// of it. The damage must be recorded even without a proof, so that history does not expire.
#[test]
fn history_is_kept_of_a_database_that_was_damaged_before_anything_was_proven() {
    let site = Site::with(
        "monitor-interval: 20ms",
        "sync-interval: 20ms, validation-interval: 100ms, snapshot-interval: 300ms, \
         retention: 500ms, retention-check-interval: 400ms",
    );
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE victim (x); CREATE INDEX found ON victim (x)").unwrap();
    insert(&connection, 20);
    lose_the_index(&connection);
    let mut daemon = site.replicate();
    daemon.wait_for("the database itself is damaged");
    let oldest = || site.listing().only().snapshots.first().cloned();
    let before = oldest();
    eventually("something would expire", || {
        insert(&connection, 1);
        daemon.says("expired history is kept")
    });
    let newest = site.listing().snapshots();
    eventually("more would expire", || {
        insert(&connection, 1);
        site.listing().snapshots() > newest + 3
    });
    assert_eq!(oldest(), before);
    let (status, log) = restore_last_verified(&site);
    assert_eq!(status, 1, "{log}");
    assert!(log.contains("nothing was ever proven"), "{log}");
    drop(connection);
    daemon.stop();
}

/// Without a signature, an altered digit would move what is restored, and an altered letter in
/// `damaged` would let history expire.
#[test]
fn a_record_that_was_altered_is_refused_and_nothing_expires() {
    let quick = "monitor-interval: 20ms";
    let site = Site::with(quick, "sync-interval: 20ms, validation-interval: 100ms");
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE victim (x)").unwrap();
    insert(&connection, 20);
    let daemon = site.replicate();
    eventually("it is proven", || proven_rows(&site) == 20);
    daemon.stop();
    let record = site.replica().join("verified");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("proven 1", "proven 2")).unwrap();
    let (status, log) = restore_last_verified(&site);
    assert_eq!(status, 1, "{log}");
    assert!(log.contains("the object \"verified\" is altered"), "{log}");

    let expiring = "sync-interval: 20ms, snapshot-interval: 200ms, retention: 300ms, \
                    retention-check-interval: 100ms";
    let replica = site.replica();
    let replica = replica.display();
    site.configure(quick, &[&format!("path: {replica}, {expiring}")]);
    let daemon = site.replicate();
    eventually("something would expire", || {
        insert(&connection, 1);
        daemon.says("the record of what was proven is altered")
    });
    assert!(!daemon.says("delete expired history"), "{}", daemon.log());
    daemon.stop();
    // The next validation makes a new record.
    site.configure(quick, &[&format!("path: {replica}, {expiring}, validation-interval: 100ms")]);
    let mut daemon = site.replicate();
    daemon.wait_for("status=ok");
    assert!(proven_rows(&site) >= 20);
    eventually("history expires again", || {
        insert(&connection, 1);
        daemon.says("delete expired history")
    });
    drop(connection);
    daemon.stop();
}

/// Without the collations and functions of its application, SQLite refuses to check a database.
/// That must not be taken for damage: the health would be failing, nothing would expire any more,
/// and `verify -full` would fail.
#[test]
fn what_only_the_application_has_is_no_damage() {
    let site = Site::with("monitor-interval: 20ms", ADDED);
    let connection = open(&site.database());
    connection
        .execute_batch(
            "CREATE TABLE victim (x); CREATE INDEX found ON victim (x);
             CREATE TABLE own (x TEXT COLLATE NOCASE UNIQUE, y CHECK (length(y) > 0));
             INSERT INTO own VALUES ('a', 1), ('B', -2), ('c', 3);
             CREATE TABLE computed AS SELECT * FROM own;
             CREATE INDEX of_function ON computed (abs(y));
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(replace(replace(sql,
                 'NOCASE', 'icu_root'), 'length(', 'its_length('), 'abs(', 'its_abs(');
             PRAGMA writable_schema = OFF",
        )
        .unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("status=ok");
    let unchecked =
        "own (no such collation sequence: icu_root); computed (unknown function: its_abs())";
    assert!(daemon.says(unchecked), "{}", daemon.log());
    let verify = |status| {
        let mut verify = site.start(&mut site.command(&["verify", "-full"]));
        assert_eq!(verify.wait(), status, "{}", verify.log());
    };
    verify(0);
    // Damage is found nevertheless.
    lose_the_index(&connection);
    drop(connection);
    daemon.stop();
    verify(1);
    let mut daemon = site.replicate();
    daemon.wait_for("the database itself is damaged");
    daemon.stop();
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

/// If the newest proven object is gone, a restore of what was last proven must not silently give
/// an older state.
#[test]
fn what_was_proven_last_is_restored_to_its_end_or_not_at_all() {
    let site = Site::new();
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE victim (x)").unwrap();
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    for _ in 0..2 {
        let segments = site.listing().segments();
        insert(&connection, 10);
        eventually("a segment", || site.listing().segments() > segments);
    }
    drop(connection);
    daemon.stop();
    let replica = site.replica();
    let settings = format!("path: {}, validation-interval: 50ms", replica.display());
    site.configure("monitor-interval: 50ms", &[&settings]);
    let mut daemon = site.replicate();
    daemon.wait_for("status=ok");
    daemon.stop();
    assert_eq!(proven_rows(&site), 20);

    let listing = site.listing();
    let generation = &listing.only().name;
    let newest = listing.only().segments.last().unwrap();
    let directory = replica.join("generations").join(generation).join("wal");
    fs::remove_file(directory.join(format!("{newest}.wal.lz4"))).unwrap();
    let (status, log) = restore_last_verified(&site);
    assert_eq!(status, 1, "{log}");
    assert!(log.contains(&format!("generation {generation} leads to")), "{log}");
}

/// If there is no backup yet, because there is no database, this is not an error. If a backup is
/// gone, it is.
#[test]
fn only_a_backup_that_is_gone_is_missed() {
    let site =
        Site::with("monitor-interval: 20ms", "sync-interval: 20ms, validation-interval: 100ms");
    let mut daemon = site.replicate();
    // This is long enough for a second try.
    thread::sleep(Duration::from_secs(7));
    site.write(1, 20);
    daemon.wait_for("status=ok");
    for error in ["cannot be restored", "validation failed", "level=ERROR", "level=WARN"] {
        assert!(!daemon.says(error), "{}", daemon.log());
    }
    let generations = site.replica().join("generations");
    fs::rename(&generations, site.path("gone")).unwrap();
    daemon.wait_for("validator: the replica cannot be restored");
    assert!(daemon.says("no matching backups found"), "{}", daemon.log());
    daemon.kill();
    // The record shows that something was validated once, even if it cannot be read.
    let site = Site::with("monitor-interval: 20ms", "validation-interval: 100ms");
    fs::create_dir_all(site.replica()).unwrap();
    fs::write(site.replica().join("verified"), "?").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("validator: the replica cannot be restored");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    assert!(daemon.says("could not be restored from replica file when"), "{}", daemon.log());
}

/// Nothing but the next snapshot by the settings, a day later, made a replica good again of which a
/// segment was lost. Until then all that was written was sent in vain.
#[test]
fn a_replica_that_cannot_be_restored_gets_another_snapshot() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 20ms, validation-interval: 1s");
    site.write(1, 5);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    for round in 2..6 {
        let before = site.listing().segments();
        site.write(round, 5);
        eventually("a segment", || site.listing().segments() > before);
    }
    daemon.wait_for("status=ok");
    let snapshots = site.listing().snapshots();
    let mut generations = fs::read_dir(site.replica().join("generations")).unwrap();
    let log = generations.next().unwrap().unwrap().path().join("wal");
    let mut segments: Vec<_> = fs::read_dir(log).unwrap().map(|it| it.unwrap().path()).collect();
    segments.sort();
    fs::remove_file(&segments[segments.len() - 2]).unwrap();
    daemon.wait_for("validator: the replica cannot be restored");
    daemon.wait_for("the replica gets another snapshot");
    eventually("another snapshot", || site.listing().snapshots() > snapshots);
    let before = daemon.log().len();
    eventually("it is proven again", || daemon.log()[before..].contains("status=ok"));
    daemon.stop();
    site.check();
    assert_eq!(site.listing().generations.len(), 1);
}

/// What is wrong with this machine is not mended by a snapshot, and says nothing of the replica.
#[test]
fn a_machine_that_cannot_validate_stores_no_snapshot() {
    let site = Site::with("monitor-interval: 20ms", "validation-interval: 100ms");
    site.write(1, 5);
    let mut command = site.command(&["replicate"]);
    let mut daemon = site.start(command.env("TMPDIR", site.path("missing")));
    daemon.wait_for("validator: the replica could not be validated");
    assert!(daemon.says("cannot make a temporary directory"), "{}", daemon.log());
    daemon.stop();
    assert_eq!(site.listing().snapshots(), 1);
}

/// A daemon that is started again looks soon, and does not end with success before.
#[test]
fn a_replica_that_could_not_be_restored_is_known_after_a_restart() {
    let settings = |interval: &str| format!("sync-interval: 20ms, validation-interval: {interval}");
    let site = Site::with("monitor-interval: 20ms", &settings("1s"));
    site.write(1, 5);
    let mut daemon = site.replicate();
    daemon.wait_for("status=ok");
    let directory = site.replica().join("generations").join(&site.listing().only().name);
    let mut snapshots = fs::read_dir(directory.join("snapshots")).unwrap();
    let snapshot = snapshots.next().unwrap().unwrap().path();
    let whole = fs::read(&snapshot).unwrap();
    // The next one cannot be stored.
    site.arm(&format!("{} = enospc", Failpoint::ObjectWriting.name()));
    fs::write(&snapshot, &whole[..whole.len() / 2]).unwrap();
    daemon.wait_for("the replica gets another snapshot");
    daemon.kill();
    let replica = format!("path: {}, {}", site.replica().display(), settings("1h"));
    site.configure("monitor-interval: 20ms", &[&replica]);
    site.disarm();
    let mut daemon = site.replicate();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    assert!(daemon.says("could not be restored from replica file when"), "{}", daemon.log());
    let mut daemon = site.replicate();
    daemon.wait_for("status=ok");
    let log = daemon.stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}

/// Settings with which only the first validation has a reason to read everything.
const ADDED: &str = "sync-interval: 20ms, validation-interval: 200ms";

/// A validation must not restore everything, however little was added.
#[test]
fn only_what_was_added_is_read() {
    let site = Site::with("monitor-interval: 20ms, min-checkpoint-page-count: 10", ADDED);
    site.write(1, 50);
    let mut daemon = site.replicate();
    daemon.wait_for("identical to the source");
    daemon.wait_for("segments=0");
    // The writes go beyond the end of several logs, with pages that disappear and come back.
    let connection = open(&site.database());
    let steps =
        ["DELETE FROM t WHERE id % 2", "VACUUM", "INSERT INTO t (content) SELECT content FROM t"];
    for sql in steps.iter().cycle().take(12) {
        connection.execute_batch(sql).unwrap();
        let seen = proofs(&daemon);
        eventually("it is proven", || proofs(&daemon) > seen);
    }
    assert_eq!(daemon.log().matches("identical to the source").count(), 1, "{}", daemon.log());
    drop(connection);
    daemon.stop();
    site.check();
}

/// How often added segments were found to be right.
fn proofs(daemon: &Process) -> usize {
    let log = daemon.log();
    log.lines().filter(|line| line.contains("validator") && !line.contains("segments=0")).count()
}
