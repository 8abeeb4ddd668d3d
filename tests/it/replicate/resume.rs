//! Stops and starts: the history goes on if continuity can be proven, and otherwise begins anew.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use litestream::failpoint::Failpoint;
use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{
    Background, Helper, Ledger, PATIENCE, Process, Role, Site, Workload, assert_same, eventually,
    open, settle,
};

fn sidecar(site: &Site, suffix: &str) -> std::path::PathBuf {
    site.path(&format!("app.db-{suffix}"))
}

fn bytes_of_segments(site: &Site) -> u64 {
    let listing = site.listing();
    let wal = site.replica().join("generations").join(&listing.only().name).join("wal");
    let Ok(entries) = fs::read_dir(wal) else { return 0 };
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// A database shrinks and grows again, with pages of zeros where others were in the same log. The
/// replica must not be believed to have zeros beyond the end, or a restore brings back what was
/// there.
#[test]
fn pages_that_come_back_as_zeros_are_sent() {
    let site = Site::new();
    let connection = open(&site.database());
    connection
        .execute_batch(
            "CREATE TABLE t (b); CREATE TABLE u (b); CREATE TABLE v AS SELECT randomblob(2000000) b",
        )
        .unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    connection.execute_batch("INSERT INTO t VALUES (randomblob(400000))").unwrap();
    connection.execute_batch("DELETE FROM t; VACUUM").unwrap();
    daemon.stop();
    // Closing it resets the log.
    drop(connection);
    let connection = open(&site.database());
    for _ in 0..40 {
        // Each row ends with an overflow page of zeros, the last of its chain.
        connection.execute_batch("INSERT INTO u VALUES (zeroblob(6000))").unwrap();
    }
    drop(connection);
    let mut daemon = site.replicate();
    daemon.wait_for("the log was reset since the last stop");
    daemon.stop();
    site.check();
}

#[test]
fn goes_on_while_the_application_keeps_the_log() {
    let site = Site::new();
    site.write(0, 300);
    let connection = open(&site.database());
    connection.execute_batch(Workload::SCHEMA).unwrap();
    let mut workload = Workload::new(1);
    for _ in 0..4 {
        let daemon = site.replicate();
        for _ in 0..10 {
            workload.step(&connection).unwrap();
        }
        daemon.stop();
    }
    drop(connection);
    assert_eq!(site.listing().only().snapshots.len(), 1);
    site.check();
}

/// The header of the log is read before an application restarts it, and the frame after that. This
/// must not be taken for a log that something else than SQLite has overwritten, which would lead
/// to a fork.
#[test]
fn goes_on_when_the_log_is_restarted_while_it_is_looked_at() {
    let site = Site::new();
    let connection = open(&site.database());
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    daemon.stop();
    connection.query_one("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())).unwrap();
    site.arm(&format!("{} = slow 2s @ 1", Failpoint::LogFound.name()));
    let mut daemon = site.replicate();
    daemon.wait_for("initialized db");
    thread::sleep(Duration::from_millis(500));
    connection.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    daemon.wait_for("the generation goes on");
    site.disarm();
    let said = daemon.stop();
    assert!(!said.contains("level=WARN") && !said.contains("level=ERROR"), "{said}");
    drop(connection);
    assert_eq!(site.listing().only().snapshots.len(), 1);
    site.check();
}

#[test]
fn goes_on_after_both_have_stopped_and_the_log_is_gone() {
    let site = Site::new();
    site.write(1, 50);
    for round in 0..8 {
        let daemon = site.replicate();
        let connection = open(&site.database());
        // In every other round, nothing is written.
        if round % 2 == 1 {
            Workload::new(round).step(&connection).unwrap();
        }
        daemon.stop();
        drop(connection);
        assert!(!sidecar(&site, "wal").exists(), "the application was the last");
    }
    assert_eq!(site.listing().only().snapshots.len(), 1);
    site.check();
}

#[test]
fn goes_on_when_it_is_the_last_to_stop() {
    let site = Site::new();
    site.write(0, 300);
    for round in 1..5 {
        let daemon = site.replicate();
        site.write(round, 10);
        daemon.stop();
        assert!(sidecar(&site, "wal").exists(), "it leaves the log alone");
    }
    assert_eq!(site.listing().only().snapshots.len(), 1);
    site.check();
}

#[test]
fn ships_only_the_pages_that_changed_while_it_was_down() {
    let site = Site::new();
    site.write(1, 400);
    site.replicate().stop();
    settle(&site.database());
    let before = bytes_of_segments(&site);
    let sql = "UPDATE t SET number = -1 WHERE id = (SELECT max(id) FROM t)";
    open(&site.database()).execute_batch(sql).unwrap();
    assert!(!sidecar(&site, "wal").exists());
    site.replicate().stop();
    let sent = bytes_of_segments(&site) - before;
    assert!((1..40_000).contains(&sent), "{sent} bytes");
    assert_eq!(site.listing().only().snapshots.len(), 1);
    site.check();
}

/// The replica must not be believed to have the pages beyond the end. A restored file is cut at
/// the end of a log, and those pages would come back as zeros.
#[test]
fn ships_pages_that_were_there_before_the_database_shrank() {
    let site = Site::new();
    site.write(1, 400);
    let connection = open(&site.database());
    let insert = "INSERT INTO t (id, content) VALUES (1000000, zeroblob(300000))";
    connection.execute_batch(&format!("VACUUM; {insert}")).unwrap();
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    connection.execute_batch("DELETE FROM t WHERE id = 1000000; VACUUM").unwrap();
    daemon.stop();
    connection.execute_batch(insert).unwrap();
    drop(connection);
    site.replicate().stop();
    site.check();
}

#[test]
fn goes_on_after_the_application_changed_everything_while_it_was_down() {
    let site = Site::new();
    site.write(1, 50);
    for sql in [
        "DELETE FROM t WHERE id % 2; VACUUM",
        "PRAGMA journal_mode = delete; UPDATE t SET content = number; PRAGMA journal_mode = wal",
        "PRAGMA journal_mode = delete; PRAGMA page_size = 8192; VACUUM; PRAGMA journal_mode = wal",
    ] {
        let daemon = site.replicate();
        site.write(2, 10);
        daemon.stop();
        open(&site.database()).execute_batch(sql).unwrap();
        site.replicate().stop();
        site.check();
    }
}

#[test]
fn is_restorable_whenever_it_is_killed() {
    let site =
        Site::with("monitor-interval: 5ms, min-checkpoint-page-count: 20", "sync-interval: 5ms");
    let path = site.database();
    let ledger = Ledger::open(&path);
    let writer = Background::start(move |_| {
        ledger.step();
        thread::sleep(Duration::from_millis(1));
    });
    let mut moves = 0;
    for _ in 0..10 {
        let daemon = site.replicate();
        thread::sleep(Duration::from_millis(fastrand::u64(..250)));
        daemon.kill();
        if site.listing().snapshots() > 0 {
            let restored = site.restore(&[]);
            let found = Ledger::audit(&restored);
            assert!(found >= moves, "from {moves} moves back to {found}");
            moves = found;
        }
    }
    let daemon = site.replicate();
    writer.finish();
    daemon.stop();
    site.check();
}

#[test]
fn loses_nothing_when_killed_under_adversaries() {
    let site =
        Site::with("monitor-interval: 5ms, min-checkpoint-page-count: 20", "sync-interval: 5ms");
    open(&site.database()).execute_batch(Workload::SCHEMA).unwrap();
    let writer = Helper::start(Role::Adversary { seed: 8, autocheckpoint: 10 }, &site.database());
    for _ in 0..10 {
        let daemon = site.replicate();
        thread::sleep(Duration::from_millis(fastrand::u64(..250)));
        daemon.kill();
    }
    let daemon = site.replicate();
    writer.finish();
    daemon.stop();
    site.check();
}

#[test]
fn a_pause_is_no_stop() {
    let site = Site::new();
    let connection = open(&site.database());
    connection.execute_batch(Workload::SCHEMA).unwrap();
    let daemon = site.replicate();
    let mut workload = Workload::new(9);
    for _ in 0..5 {
        // The suspended daemon's transaction blocks most checkpoints, so do not wait for it long.
        connection.busy_timeout(Duration::from_millis(100)).unwrap();
        pause_outside_window(&daemon, &connection);
        for _ in 0..30 {
            workload.step(&connection).unwrap();
        }
        workload.checkpoint(&connection).unwrap();
        daemon.signal(Signal::CONT);
        connection.busy_timeout(PATIENCE).unwrap();
        workload.step(&connection).unwrap();
    }
    drop(connection);
    daemon.stop();
    assert_eq!(site.listing().only().snapshots.len(), 1);
    site.check();
}

/// Suspends the daemon while it does not lock the database: a daemon that is suspended in the
/// window of a checkpoint keeps out every writer until it is resumed.
fn pause_outside_window(daemon: &Process, connection: &Connection) {
    eventually("a moment outside the window", || {
        daemon.pause();
        let unlocked = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok();
        if !unlocked {
            daemon.signal(Signal::CONT);
        }
        unlocked
    });
}

/// A commit between the last look at the log and the signal must be seen, or at least missed.
#[test]
fn a_commit_just_before_the_signal_is_replicated() {
    let site = Site::with("monitor-interval: 1ms", "sync-interval: 1ms");
    let connection = open(&site.database());
    connection.execute_batch(Workload::SCHEMA).unwrap();
    for count in 1..=6 {
        let daemon = site.replicate();
        eventually("a snapshot", || site.listing().snapshots() > 0);
        thread::sleep(Duration::from_millis(fastrand::u64(10..60)));
        connection.execute("INSERT INTO t (number) VALUES (?)", [count]).unwrap();
        daemon.stop();
        let restored = open(&site.restore(&[]));
        let found: i64 =
            restored.query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(found, count);
    }
}

/// A damaged page table must not be trusted: all digests sealed after that would be wrong, and
/// nothing could be restored.
#[test]
fn a_lost_or_damaged_state_costs_no_more_than_a_snapshot() {
    let damage: [fn(&Path); 8] = [
        |state| fs::remove_file(state.join("cursor")).unwrap(),
        |state| fs::write(state.join("cursor"), "").unwrap(),
        |state| fs::write(state.join("cursor"), [0xff; 300]).unwrap(),
        |state| fs::remove_file(state.join("pages")).unwrap(),
        |state| fs::write(state.join("pages"), "").unwrap(),
        |state| {
            let mut pages = fs::read(state.join("pages")).unwrap();
            let at = pages.len() / 2;
            pages[at] ^= 1;
            fs::write(state.join("pages"), pages).unwrap();
        },
        |state| {
            let pages = fs::File::options().write(true).open(state.join("pages")).unwrap();
            pages.set_len(40).unwrap();
        },
        |state| {
            let waiting = state.join("staging/file.replica/0123456789abcdef");
            fs::create_dir_all(&waiting).unwrap();
            fs::write(waiting.join("00000000_00000000.wal.lz4"), "what is this").unwrap();
            fs::write(waiting.join("neither.this"), "").unwrap();
        },
    ];
    for (number, damage) in damage.iter().enumerate() {
        for log_is_kept in [false, true] {
            let site = Site::new();
            site.write(1, 100);
            let connection = Some(open(&site.database())).filter(|_| log_is_kept);
            let daemon = site.replicate();
            site.write(2, 1);
            daemon.stop();
            damage(&site.state());
            let daemon = site.replicate();
            open(&site.database()).execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
            daemon.stop();
            drop(connection);
            site.check();
            let snapshots = site.listing().snapshots();
            assert!(snapshots <= 2, "damage {number}: {snapshots} snapshots");
        }
    }
}

/// After a loss of power the database may have gone back by itself.
#[test]
#[cfg(debug_assertions)]
fn an_older_state_after_a_loss_of_power_is_followed() {
    let site = Site::new();
    site.write(1, 20);
    let older = site.keep_copy();
    let daemon = site.replicate();
    site.write(2, 20);
    daemon.stop();
    settle(&site.database());
    fs::copy(&older, site.database()).unwrap();
    site.reboot();
    site.replicate().stop();
    site.check();
}

/// A commit that cannot be staged must not count as captured, and wait for the next one.
#[test]
fn a_state_directory_that_is_removed_while_in_use_is_no_reason_to_lie() {
    let site = Site::new();
    site.write(1, 20);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    // The daemon may be writing something there.
    eventually("it is removed", || fs::remove_dir_all(site.state()).is_ok());
    let before = site.listing().segments();
    site.write(2, 20);
    eventually("the replica has it, or somebody is told", || {
        daemon.says("replication is interrupted") || site.listing().segments() > before
    });
    fs::create_dir_all(site.state()).unwrap();
    daemon.stop();
    let restored = site.fresh("restored");
    site.check();
    assert!(!restored.exists());
    assert_same(&site.database(), &site.restore(&[]));
}
