//! Other processes that checkpoint, read and lock while we replicate.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use litestream::failpoint::Failpoint;

use crate::support::{Background, Helper, Role, Site, Workload, eventually, open};

/// A site whose daemon checkpoints all the time, too.
fn site() -> Site {
    let site =
        Site::with("monitor-interval: 10ms, min-checkpoint-page-count: 20", "sync-interval: 10ms");
    open(&site.database()).execute_batch(Workload::SCHEMA).unwrap();
    site
}

fn check_against_adversaries(autocheckpoints: [u32; 2]) {
    let site = site();
    let start = |(seed, autocheckpoint)| {
        Helper::start(Role::Adversary { seed, autocheckpoint }, &site.database())
    };
    let adversaries: Vec<Helper> = (1..).zip(autocheckpoints).map(start).collect();
    let daemon = site.replicate();
    let began = Instant::now();
    eventually("many logs", || {
        began.elapsed() > Duration::from_secs(3)
            && site.listing().generations.iter().any(|found| found.segments.len() > 20)
    });
    adversaries.into_iter().for_each(Helper::finish);
    let log = daemon.stop();
    site.check();
    assert_eq!(site.listing().snapshots(), 1, "continuity was lost\n{log}");
}

/// This must not end generations: when a new connection is the first to write to a log that
/// another one has emptied, SQLite makes up a wholly random salt.
#[test]
fn writers_that_checkpoint_after_every_frame_cannot_hide_one() {
    check_against_adversaries([1, 1]);
}

#[test]
fn writers_that_checkpoint_often_cannot_hide_a_frame() {
    check_against_adversaries([10, 1000]);
}

#[test]
fn a_reader_that_never_ends_delays_nothing() {
    let site = site();
    let reader = Helper::start(Role::Reader, &site.database());
    let daemon = site.replicate();
    let connection = open(&site.database());
    let mut workload = Workload::new(5);
    let ask = |path: &Path| -> String {
        open(path).query_one(Workload::QUESTION, [], |row| row.get(0)).unwrap()
    };
    for _ in 0..4 {
        for _ in 0..25 {
            workload.step(&connection).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        eventually("all is sent while it reads", || {
            let (mut restore, output) = site.start_restore(&[]);
            restore.wait() == 0 && ask(&output) == ask(&site.database())
        });
    }
    drop(connection);
    assert_eq!(site.listing().snapshots(), 1, "continuity was lost\n{}", daemon.log());
    daemon.stop();
    reader.finish();
    site.check();
}

/// The first snapshot may be taken in the middle of a log. It must name the link of the segment
/// that leads there, or `restore` refuses the whole generation.
#[test]
fn a_reader_from_before_the_start_may_leave_later() {
    let site = site();
    let connection = open(&site.database());
    let mut workload = Workload::new(6);
    workload.step(&connection).unwrap();
    let reader = Helper::start(Role::Reader, &site.database());
    workload.step(&connection).unwrap();
    let daemon = site.replicate();
    for _ in 0..50 {
        workload.step(&connection).unwrap();
    }
    eventually("segments", || site.listing().segments() > 0);
    reader.finish();
    eventually("a new log", || {
        workload.step(&connection).unwrap();
        site.listing().only().last_index() > 0
    });
    drop(connection);
    daemon.stop();
    site.check();
}

#[test]
fn readers_that_come_and_go_lose_nothing() {
    let site = site();
    let writer = Helper::start(Role::Adversary { seed: 7, autocheckpoint: 10 }, &site.database());
    let daemon = site.replicate();
    for _ in 0..8 {
        let readers = [(); 2].map(|()| Helper::start(Role::Reader, &site.database()));
        thread::sleep(Duration::from_millis(100));
        readers.into_iter().for_each(Helper::finish);
    }
    writer.finish();
    daemon.stop();
    site.check();
}

/// The first snapshot must not lock out, for most of a second, an application that writes faster
/// than its log can be copied and synced.
#[test]
fn an_application_that_is_faster_than_the_disk_gets_its_snapshot_and_its_checkpoints() {
    let site = Site::with(
        "monitor-interval: 10ms, min-checkpoint-page-count: 20, max-checkpoint-page-count: 100",
        "sync-interval: 10ms",
    );
    site.configure_also("logging: {level: debug}");
    site.arm(&format!("{} = slow 200ms", Failpoint::LogCopied.name()));
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE t (x)").unwrap();
    // In that time, this writes far more than may be left to be copied.
    let writer = Background::start(move |_| {
        connection.execute_batch("INSERT INTO t VALUES (zeroblob(100000))").unwrap();
        thread::sleep(Duration::from_millis(5));
    });
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    daemon.wait_for("complete=true");
    writer.finish();
    site.disarm();
    daemon.stop();
    site.check();
    assert_eq!(site.listing().snapshots(), 1, "continuity was lost");
}

/// Another process may copy the rest of the log during our checkpoint. We must not believe that
/// our read transaction keeps that log: it reads only the file.
#[test]
fn a_checkpoint_that_another_process_completes_is_complete() {
    let site = Site::with(
        "monitor-interval: 10ms, checkpoint-interval: 100ms, min-checkpoint-page-count: 1",
        "sync-interval: 10ms",
    );
    site.configure_also("logging: {level: debug}");
    let connection = open(&site.database());
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (i)").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    let reader = open(&site.database());
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    daemon.wait_for("complete=false");

    site.arm(&format!("{} = slow 3s @ 1", Failpoint::LogBackfilled.name()));
    let writer = open(&site.database());
    writer.busy_timeout(Duration::ZERO).unwrap();
    let is_locked = || writer.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_err();
    eventually("nobody can write for long", || {
        (0..5).all(|_| {
            thread::sleep(Duration::from_millis(50));
            is_locked()
        })
    });
    reader.execute_batch("ROLLBACK").unwrap();
    let (log, copied): (i64, i64) = writer
        .query_one("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))
        .unwrap();
    assert!(log > 0 && log == copied, "{log} {copied}");
    assert!(is_locked(), "the daemon is still at it");
    eventually("the end of that checkpoint", || daemon.says("took=3."));
    site.disarm();
    let said = daemon.log();
    let line = said.lines().find(|line| line.contains("took=3.")).unwrap();
    assert!(line.contains("complete=true"), "{line}");

    connection.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    drop((connection, reader, writer));
    daemon.stop();
    site.check();
    assert_eq!(site.listing().snapshots(), 1, "continuity was lost");
}

/// A forgotten read transaction makes the log fill the disk, so its owner must be named.
#[test]
fn who_keeps_the_log_from_being_emptied_is_named() {
    let site = Site::with(
        "monitor-interval: 10ms, min-checkpoint-page-count: 5, max-checkpoint-page-count: 10",
        "sync-interval: 10ms",
    );
    site.write(1, 5);
    let reader = open(&site.database());
    reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    site.write(2, 30);
    daemon.wait_for("because it is being read from all the time");
    let reading = format!("(process {})", std::process::id());
    assert!(daemon.says(&reading), "{reading}\n{}", daemon.log());
    drop(reader);
    daemon.stop();
    site.check();
}

/// The log must not be copied again and again, each time longer, before a generation can begin.
#[test]
fn a_writer_that_is_faster_than_the_disk_does_not_keep_a_generation_from_its_beginning() {
    let site = site();
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE fast (x)").unwrap();
    let writer = Background::start(move |count| {
        if count < 2000 {
            connection.execute_batch("INSERT INTO fast VALUES (zeroblob(100000))").unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    });
    let copied = Failpoint::LogCopied.name();
    site.arm(&format!("{copied} = slow 300ms @ 1..4\n{copied} = kill @ 5"));
    let mut daemon = site.replicate();
    daemon.wait();
    writer.finish();
    assert!(daemon.says("generation begins"), "{}", daemon.log());
    site.disarm();
    site.replicate().stop();
    site.check();
}
