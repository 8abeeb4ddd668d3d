//! Applications that checkpoint all of their log themselves: SQLite makes them wait for readers of
//! the log, and makes writers wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use litestream::failpoint::Failpoint;
use litestream::sqlite::sidecar;
use rusqlite::Connection;
use rustix::process::Signal;

use crate::seaweed;
use crate::support::{Background, Ledger, Site, eventually, open};

const MODES: [&str; 3] = ["FULL", "RESTART", "TRUNCATE"];

/// Checkpoints within the busy timeout, and expects that nobody was in the way.
fn checkpoint(connection: &Connection, mode: &str) {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    loop {
        let (busy, frames, copied): (bool, i64, i64) = connection
            .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        if frames == -1 {
            // The daemon is checkpointing, which SQLite does not wait for.
            continue;
        }
        assert!(!busy && frames == copied, "{mode}: {copied} of {frames} frames");
        break;
    }
}

#[test]
fn wait_for_nobody_when_all_is_captured() {
    let site = Site::new();
    let daemon = site.begin();
    let connection = open(&site.database());
    for round in 0..2 {
        for mode in MODES {
            let before = site.listing().segments();
            connection.execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
            eventually("it is captured", || site.listing().segments() > before);
            checkpoint(&connection, mode);
            assert_eq!(site.listing().generations.len(), 1, "{mode} {round}");
        }
    }
    // What is written next would be lost if the daemon took the new log for the previous one.
    connection.execute_batch("INSERT INTO t (number) VALUES (2)").unwrap();
    drop(connection);
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{log}");
    site.check();
}

/// They wait only until the next segment is cut.
#[test]
fn wait_not_for_long_while_others_write() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 100ms, snapshot-interval: 2s");
    let ledger = Ledger::open(&site.database());
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    let writes = Background::start(move |_| ledger.step());
    let other = Ledger::open(&site.database());
    let other = Background::start(move |_| other.step());
    let connection = open(&site.database());
    for mode in MODES.iter().cycle().take(12) {
        checkpoint(&connection, mode);
    }
    let moves = [writes, other].map(Background::finish);
    drop(connection);
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{moves:?} {log}");
    assert_eq!(Ledger::audit(&site.restore(&[])), Ledger::audit(&site.database()));
    site.check();
}

/// This holds however rarely segments are sent.
#[test]
fn wait_for_no_sync_interval() {
    let site = Site::with("monitor-interval: 1s", "sync-interval: 1h");
    let mut daemon = site.replicate();
    site.write(1, 20);
    daemon.wait_for("snapshot written");
    let connection = open(&site.database());
    for round in 0..9 {
        connection.execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
        checkpoint(&connection, MODES[round % 3]);
    }
    drop(connection);
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{log}");
    site.check();
}

/// Has the locks of a checkpoint of all of the log, as wal.c of SQLite defines them. Once a reader is
/// at the end of the log, waits for the read mark of that one, as a checkpoint does that looked how
/// far the readers are just before. Then says how much it copies.
const OUTRUN: &str = "
import fcntl, struct, sys, time
index = open(sys.argv[1], 'r+b', buffering=0)
def take(byte):
    try:
        fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError:
        return False
    return True
def numbers(start, count):
    index.seek(start)
    return struct.unpack(f'{count}I', index.read(4 * count))
def is_awaited(mark):
    if numbers(100, 5)[mark] != frames:
        return False
    if take(READ + mark):
        fcntl.lockf(index, fcntl.LOCK_UN, 1, READ + mark)
        return False
    return True
WRITE, CHECKPOINT, READ = 120, 121, 123
while not (take(CHECKPOINT) and take(WRITE)):
    time.sleep(0.01)
[frames] = numbers(16, 1)
print('has its locks', flush=True)
while not (awaited := [mark for mark in range(1, 5) if is_awaited(mark)]):
    time.sleep(0.001)
while not take(READ + awaited[0]):
    time.sleep(0.1)
index.seek(128)
index.write(struct.pack('I', frames))
";

/// A reader may take a read mark just after a checkpoint has found that it is not far enough: then
/// the mark is waited for, although the reader is at the end of the log.
#[test]
fn wait_for_no_read_mark_at_the_end_of_the_log() {
    let site = Site::with("monitor-interval: 1h", "sync-interval: 20ms");
    let daemon = site.begin();
    let connection = open(&site.database());
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    for round in 0..5 {
        daemon.pause();
        connection.execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
        let index = sidecar(&site.database(), "-shm");
        let mut command = seaweed::python();
        let mut checkpoint = site.start(command.args(["-c", OUTRUN]).arg(&index));
        checkpoint.wait_for("has its locks");
        daemon.signal(Signal::CONT);
        let status = checkpoint.wait_within(Duration::from_secs(5));
        assert_eq!(status, Some(0), "{round} {}", checkpoint.log());
    }
    drop(connection);
    let log = daemon.stop();
    assert!(!log.contains("generation ended"), "{log}");
    assert_eq!(site.listing().snapshots(), 1);
    site.check();
}

/// Without a reachable replica there is nothing to capture, and no log to keep.
#[test]
fn wait_for_nobody_while_nothing_can_be_captured() {
    let site = Site::new();
    let nobody = "type: s3, endpoint: 'http://127.0.0.1:9', bucket: b, path: db, region: r";
    site.configure("monitor-interval: 50ms", &[nobody]);
    site.write(1, 20);
    let mut daemon = site.replicate();
    daemon.wait_for("initialized db");
    let connection = open(&site.database());
    for mode in MODES {
        connection.execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
        checkpoint(&connection, mode);
    }
    daemon.kill();
}

/// A starting daemon waits for the write lock, held by a checkpointer that waits for the daemon.
/// This must not last until the application gives up, at every checkpoint.
#[test]
fn wait_for_no_daemon_that_begins_or_ends() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 200ms");
    site.write(1, 20);
    let (path, stop) = (site.database(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let application = thread::spawn(move || {
        let connection = open(&path);
        let mut rows = 0;
        while !stopped.load(Ordering::Relaxed) {
            connection.execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
            checkpoint(&connection, MODES[rows % 3]);
            rows += 1;
        }
        rows
    });
    for _ in 0..6 {
        let mut daemon = site.replicate();
        daemon.wait_for("initialized db");
        thread::sleep(Duration::from_millis(fastrand::u64(0..300)));
        daemon.signal(Signal::TERM);
        // The application never stops writing.
        assert!([0, 75].contains(&daemon.wait()), "{}", daemon.log());
    }
    stop.store(true, Ordering::Relaxed);
    assert!(application.join().unwrap() > 0);
    site.replicate().stop();
    site.check();
}

/// The application goes on writing after the daemon was asked to stop, until the daemon captures
/// nothing more, and then empties the log with its last writes: no log shows any more that they
/// were not sent.
#[test]
fn what_is_not_captured_at_the_end_is_said_though_its_log_is_gone() {
    let site = Site::new();
    let mut daemon = site.begin();
    let connection = open(&site.database());
    let write = || connection.execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
    daemon.signal(Signal::TERM);
    let told = Instant::now();
    while told.elapsed() < Duration::from_millis(5400) {
        if told.elapsed() > Duration::from_millis(4600) {
            // Keeps the daemon busy for a while.
            site.arm(&format!("{} = slow 300ms", Failpoint::ObjectWriting.name()));
        }
        write();
        thread::sleep(Duration::from_millis(50));
    }
    write();
    checkpoint(&connection, "TRUNCATE");
    drop(connection);
    match daemon.wait() {
        75 => assert!(daemon.says("the last transactions are not on"), "{}", daemon.log()),
        // The daemon was faster than the test.
        code => assert_eq!(code, 0, "{}", daemon.log()),
    }
    if !daemon.says("error: ") {
        site.check();
    }
    site.disarm();
    site.replicate().stop();
    site.check();
}
