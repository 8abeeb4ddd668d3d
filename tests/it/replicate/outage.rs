//! What an outage of the store, or a full disk, costs the application: its disk is its own.

use std::fs;
use std::thread;
use std::time::Duration;

use litestream::failpoint::Failpoint;

use super::divergence::side_files;
use crate::support::{Site, eventually, insert, open};

/// Segments are cut less often while others wait, and the log cannot be emptied before that: it
/// filled the disk.
#[test]
fn the_log_does_not_grow_while_segments_wait() {
    let site =
        Site::with("monitor-interval: 20ms, min-checkpoint-page-count: 50", "sync-interval: 20ms");
    let mut daemon = site.begin();
    let away = site.path("away");
    fs::rename(site.replica(), &away).unwrap();
    let connection = open(&site.database());
    connection.execute_batch("PRAGMA wal_autocheckpoint = 50").unwrap();
    insert(&connection, 1);
    daemon.wait_for("is its disk mounted?");
    for _ in 0..400 {
        connection.execute_batch("INSERT INTO t (content) VALUES (zeroblob(20000))").unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let [log, _] = side_files(&site.database());
    let bytes = fs::metadata(log).unwrap().len();
    assert!(bytes < 5_000_000, "{bytes} bytes of 8 million are in the log");
    fs::rename(away, site.replica()).unwrap();
    drop(connection);
    daemon.stop();
    site.check();
}

#[test]
fn the_log_is_let_go_of_while_it_cannot_be_captured_for_a_full_disk() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 20ms");
    let mut daemon = site.begin();
    site.arm(&format!("{} = enospc", Failpoint::SegmentCreating.name()));
    let connection = open(&site.database());
    insert(&connection, 1);
    daemon.wait_for("its log cannot be captured while a disk is full");
    eventually("nobody keeps the log", || {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        connection.query_row(sql, [], |row| row.get::<_, bool>(0)).is_ok_and(|busy| !busy)
    });
    insert(&connection, 2);
    site.disarm();
    daemon.wait_for("replication goes on");
    insert(&connection, 3);
    drop(connection);
    daemon.stop();
    site.check();
}
