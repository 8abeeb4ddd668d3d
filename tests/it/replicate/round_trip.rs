//! What is restored is, byte for byte, what SQLite makes of the database.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::support::{Background, Helper, Role, Site, Workload, eventually, open, settle};

/// If the path of the database is a link, SQLite keeps the log beside the target. If we looked
/// beside the link, nothing would ever be captured, and success would be reported.
#[test]
fn a_database_behind_a_link_is_replicated_too() {
    let site = Site::new();
    let real = site.path("volume");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(real.join("real.db"), site.database()).unwrap();
    site.write(1, 20);
    let connection = open(&site.database());
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    connection.execute_batch("CREATE TABLE linked (i); INSERT INTO linked VALUES (1)").unwrap();
    eventually("a segment", || {
        site.listing().generations.iter().any(|found| !found.segments.is_empty())
    });
    daemon.stop();
    drop(connection);
    site.check();
}

#[test]
fn every_page_size_comes_back() {
    for page_size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        let site = Site::with(
            "monitor-interval: 20ms, min-checkpoint-page-count: 20",
            "sync-interval: 10ms",
        );
        let sql = format!("PRAGMA page_size = {page_size}; PRAGMA journal_mode = wal; VACUUM");
        Connection::open(site.database()).unwrap().execute_batch(&sql).unwrap();
        let daemon = site.replicate();
        site.write(page_size, 60);
        daemon.stop();
        site.check();
        let connection = open(&site.database());
        let found: i64 = connection.query_one("PRAGMA page_size", [], |row| row.get(0)).unwrap();
        assert_eq!(found, i64::try_from(page_size).unwrap());
    }
}

#[test]
fn a_steady_writer_and_bursts_come_back() {
    let site =
        Site::with("monitor-interval: 20ms, min-checkpoint-page-count: 50", "sync-interval: 20ms");
    let connection = open(&site.database());
    connection.execute_batch(Workload::SCHEMA).unwrap();
    let daemon = site.replicate();
    let mut workload = Workload::new(1);
    let writer = Background::start(move |count| {
        workload.step(&connection).unwrap();
        if count % 100 > 30 {
            thread::sleep(Duration::from_millis(10));
        }
    });
    eventually("the log was restarted often", || {
        let listing = site.listing();
        listing.segments() > 20 && listing.only().last_index() > 4
    });
    writer.finish();
    daemon.stop();
    assert_eq!(site.listing().snapshots(), 1, "{:?}", site.listing());
    site.check();
}

#[test]
fn a_database_that_does_not_exist_yet_is_waited_for() {
    let site = Site::new();
    let daemon = site.replicate();
    site.write(1, 5);
    eventually("a snapshot", || site.listing().snapshots() == 1);
    daemon.stop();
    site.check();
}

#[test]
fn a_database_that_is_still_empty_is_waited_for() {
    let site = Site::new();
    fs::write(site.database(), "").unwrap();
    let daemon = site.replicate();
    assert_eq!(daemon.stop().matches("initialized db").count(), 0);
    assert_eq!(fs::metadata(site.database()).unwrap().len(), 0, "it is not touched");
    let daemon = site.replicate();
    site.write(1, 5);
    daemon.stop();
    site.check();
}

#[test]
fn a_database_of_one_page_comes_back() {
    let site = Site::new();
    let connection = Connection::open(site.database()).unwrap();
    connection.execute_batch("PRAGMA user_version = 7").unwrap();
    drop(connection);
    assert_eq!(fs::metadata(site.database()).unwrap().len(), 4096);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    daemon.stop();
    site.check();
    let daemon = site.replicate();
    let connection = open(&site.database());
    connection.execute_batch("PRAGMA user_version = 8").unwrap();
    drop(connection);
    daemon.stop();
    site.check();
}

/// The page at 1 GiB is never written, so the file may have a hole there.
#[test]
fn a_database_of_more_than_a_gigabyte_comes_back() {
    const GIBIBYTE: u64 = 1 << 30;
    let site = Site::new();
    let sql = "PRAGMA page_size = 65536; CREATE TABLE t (content BLOB)";
    Connection::open(site.database()).unwrap().execute_batch(sql).unwrap();
    make_larger(&site.database(), GIBIBYTE - (1 << 20));
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let connection = open(&site.database());
    connection.execute_batch("INSERT INTO t VALUES (zeroblob(4 << 20))").unwrap();
    drop(connection);
    daemon.stop();
    site.check();
    assert!(fs::metadata(site.database()).unwrap().len() > GIBIBYTE + (2 << 20));
}

/// Extends a database with unused pages of zeros.
fn make_larger(database: &Path, bytes: u64) {
    let file = fs::File::options().read(true).write(true).open(database).unwrap();
    file.set_len(bytes).unwrap();
    let pages = u32::try_from(bytes / 65536).unwrap();
    file.write_all_at(&pages.to_be_bytes(), 28).unwrap();
}

#[test]
fn a_transaction_larger_than_any_buffer_comes_back() {
    let site = Site::new();
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE t (content BLOB)").unwrap();
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    connection
        .execute_batch(
            "INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 110)
             SELECT zeroblob(1 << 20) FROM c",
        )
        .unwrap();
    drop(connection);
    daemon.stop();
    site.check();
    let listing = site.listing();
    assert_eq!((listing.snapshots(), listing.segments()), (1, 1), "{listing:?}");
}

#[test]
fn vacuum_and_shrinking_come_back() {
    for auto_vacuum in ["none", "full", "incremental"] {
        let site = Site::with("monitor-interval: 5ms", "sync-interval: 1ms");
        let sql = format!("PRAGMA auto_vacuum = {auto_vacuum}; PRAGMA journal_mode = wal");
        Connection::open(site.database()).unwrap().execute_batch(&sql).unwrap();
        let connection = open(&site.database());
        connection.execute_batch(Workload::SCHEMA).unwrap();
        let daemon = site.replicate();
        let mut workload = Workload::new(3);
        for sql in [
            "DELETE FROM t WHERE id % 3",
            "PRAGMA incremental_vacuum(20)",
            "VACUUM",
            "DELETE FROM t",
            "PRAGMA incremental_vacuum",
            "VACUUM",
        ] {
            for _ in 0..20 {
                workload.step(&connection).unwrap();
            }
            connection.execute_batch(sql).unwrap();
        }
        drop(connection);
        daemon.stop();
        site.check();
    }
}

#[test]
fn rolled_back_and_spilled_transactions_come_back() {
    let site = Site::with("monitor-interval: 5ms", "sync-interval: 1ms");
    let connection = open(&site.database());
    connection.execute_batch(Workload::SCHEMA).unwrap();
    let mut workload = Workload::new(4);
    for _ in 0..100 {
        workload.step(&connection).unwrap();
    }
    let daemon = site.replicate();
    for cache in 1..=10 {
        connection.execute_batch(&format!("PRAGMA cache_size = {cache}")).unwrap();
        for end in ["ROLLBACK", "COMMIT", "ROLLBACK"] {
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            connection
                .execute_batch(
                    "INSERT INTO t (number, content) SELECT number + 1, hex(randomblob(100)) FROM t;
                     UPDATE t SET number = number + 1; DELETE FROM t WHERE id % 2",
                )
                .unwrap();
            connection.execute_batch(end).unwrap();
            workload.step(&connection).unwrap();
        }
    }
    drop(connection);
    daemon.stop();
    site.check();
}

#[test]
fn an_application_that_opens_the_database_for_each_write_comes_back() {
    let site = Site::new();
    site.write(1, 1);
    let daemon = site.replicate();
    for seed in 2..40 {
        site.write(seed, 2);
    }
    daemon.stop();
    site.check();
    assert_eq!(site.listing().snapshots(), 1);
}

#[test]
fn a_writer_that_died_in_a_transaction_is_rolled_back() {
    let site = Site::new();
    site.write(1, 100);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    for seed in 2..5 {
        let writer = Helper::start(Role::Spiller, &site.database());
        writer.kill();
        site.write(seed, 5);
    }
    let writer = Helper::start(Role::Spiller, &site.database());
    daemon.stop();
    writer.kill();
    site.check();
}

#[test]
fn nothing_is_added_to_the_database() {
    let site =
        Site::with("monitor-interval: 10ms, min-checkpoint-page-count: 10", "sync-interval: 10ms");
    site.write(1, 100);
    let daemon = site.replicate();
    site.write(2, 200);
    eventually("a snapshot", || site.listing().snapshots() == 1);
    site.write(3, 200);
    daemon.stop();
    settle(&site.database());

    let control = Site::new();
    (1..).zip([100, 200, 200]).for_each(|(seed, count)| control.write(seed, count));
    settle(&control.database());
    let [found, expected] = [&site, &control].map(|site| {
        let mut content = fs::read(site.database()).unwrap();
        // Here SQLite counts the changes of page 1, starting again with each log.
        content[24..28].fill(0);
        content[92..96].fill(0);
        content
    });
    assert!(found == expected, "the database is not what the application alone makes of it");
}

/// The frames of a transaction that is still open have been looked at. It is rolled back, and a
/// shorter one replaces only the first frames: the last one is still there. The frames must be
/// read again, or the commit is not seen, and lost with the next checkpoint.
#[test]
fn a_commit_in_the_place_of_a_longer_rollback_is_seen() {
    let site = Site::new();
    site.serve();
    site.write(1, 100);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let connection = open(&site.database());
    connection.execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1").unwrap();
    for number in 0..3 {
        let segments = site.listing().segments();
        let rolled_back = "BEGIN IMMEDIATE; INSERT INTO t (content) VALUES (randomblob(1000000))";
        connection.execute_batch(rolled_back).unwrap();
        site.wait_for_look(&daemon);
        connection.execute_batch("ROLLBACK").unwrap();
        connection.execute("INSERT INTO t (number) VALUES (?)", [number]).unwrap();
        eventually("a segment", || site.listing().segments() > segments);
    }
    drop(connection);
    daemon.stop();
    site.check();
}
