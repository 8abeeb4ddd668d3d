//! Listings that are late, unsorted, or have wrong times.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use super::{Remote, with_each};
use crate::rogue::Habits;
use crate::support::{assert_same, eventually, insert, open, rows, timestamp};

#[test]
fn pages_of_an_unordered_listing_are_put_together() {
    let remote = Remote::new();
    remote.store.set_habits(Habits { page: 2, unordered: true, ..Habits::default() });
    remote.fill();
    remote.check();
    remote.site.replicate().stop();
    assert_eq!(remote.generations(), 1, "the daemon knew its own replica");
    remote.check();
}

#[test]
fn a_segment_that_is_not_listed_yet_is_missed() {
    let remote = Remote::new();
    remote.fill();
    let segments = remote.keys("/wal/");
    let late = &segments[segments.len() / 2];
    let habits = Habits { unlisted: Some(late.clone()), ..Habits::default() };
    remote.store.set_habits(habits);
    remote.store.store(late, remote.store.object(late).unwrap());
    let line = remote.fail_restore();
    assert!(line.contains("a WAL segment is missing before it"), "{line}");
    let mut verify = remote.verify(&[]);
    assert_eq!(verify.wait(), 1, "{}", verify.log());

    remote.store.behave();
    remote.check();
}

#[test]
fn a_snapshot_that_is_not_listed_yet_is_missed() {
    let remote = Remote::new();
    let habits = Habits { unlisted: Some("/snapshots/".to_owned()), ..Habits::default() };
    remote.store.set_habits(habits);
    remote.fill();
    let line = remote.fail_restore();
    assert!(line.contains("snapshot") || line.contains("no matching backups"), "{line}");
    remote.store.behave();
    remote.check();
}

/// A restarted daemon may not be shown the newest objects, while the database file is still as it
/// was before them. If it went on from there, it would use the first name after that, and find the
/// second one taken: nothing after the first could be restored.
#[test]
fn who_is_shown_an_earlier_end_does_not_go_on_from_there() {
    let settings = "monitor-interval: 10ms, min-checkpoint-page-count: 20";
    let remote = Remote::with(settings, "sync-interval: 10ms");
    let daemon = remote.replicate();
    let [connection, reader] = [(); 2].map(|()| open(&remote.site.database()));
    connection.execute_batch("CREATE TABLE logged (i)").unwrap();
    let log = || -> (i64, i64) {
        let look = "PRAGMA wal_checkpoint(NOOP)";
        connection.query_row(look, (), |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
    };
    eventually("a reader of the file alone, who lets nothing be copied to it", || {
        // All of the log was copied before the reader began: otherwise it reads from the log.
        let before = log();
        reader.execute_batch("BEGIN; SELECT * FROM logged").unwrap();
        let (frames, copied) = log();
        let alone = frames > 0 && frames == copied && before == (frames, copied);
        if !alone {
            reader.execute_batch("ROLLBACK").unwrap();
            connection.execute_batch("INSERT INTO logged VALUES (1)").unwrap();
        }
        alone
    });
    let logged = |connection: &Connection| -> u32 {
        connection.query_row("SELECT count(*) FROM logged", (), |row| row.get(0)).unwrap()
    };
    eventually("the rest of the log in the store", || {
        logged(&open(&remote.restored())) == logged(&connection)
    });
    let segments = remote.keys("/wal/");
    let (_, newest) = segments.last().unwrap().split_once("/wal/").unwrap();
    let index = u32::from_str_radix(&newest[..8], 16).unwrap();
    let next_log = format!("/wal/{:08x}_", index + 1);
    remote.store.set_habits(Habits { unlisted: Some(next_log.clone()), ..Habits::default() });
    eventually("two segments of the next log", || {
        connection.execute_batch("INSERT INTO logged VALUES (2)").unwrap();
        remote.keys(&next_log).len() > 1
    });
    daemon.kill();

    let daemon = remote.site.replicate();
    eventually("a new generation", || remote.generations() == 2);
    drop((connection, reader));
    daemon.stop();
    remote.store.behave();
    remote.check();
    for key in remote.keys("/snapshots/") {
        let generation = key.split('/').nth(2).unwrap();
        remote.site.restore(&["-generation", generation]);
    }
}

/// If the newest objects are not listed, a restore is older than the database, but not a mixture.
#[test]
fn what_is_not_listed_yet_is_not_restored_and_not_lost() {
    let remote = Remote::new();
    remote.fill();
    let before = remote.site.keep_copy();
    let habits = Habits { unlisted: Some("/wal/".to_owned()), ..Habits::default() };
    remote.store.set_habits(habits);
    let daemon = remote.site.replicate();
    let segments = remote.keys("/wal/").len();
    remote.site.write(3, 20);
    eventually("a segment", || remote.keys("/wal/").len() > segments);
    assert_same(&before, &remote.restored());
    daemon.stop();

    // The next daemon cannot know what the one before it has stored.
    let daemon = remote.site.replicate();
    remote.site.write(4, 20);
    daemon.stop();
    remote.store.behave();
    remote.check();
}

#[test]
fn objects_that_are_listed_in_another_order_than_stored_are_restored_once_all_are() {
    let remote = Remote::new();
    let listing_delay = Duration::from_secs(2);
    remote.store.set_habits(Habits { listing_delay, ..Habits::default() });
    remote.fill();
    eventually("a good restore", || {
        let (mut restore, output) = remote.start_restore();
        let whole = restore.wait() == 0;
        assert_eq!(whole, output.exists(), "{}", restore.log());
        whole && std::fs::read(&output).unwrap() == remote.settled()
    });
    remote.check();
}

/// If the clock of the store is days behind, all history must not seem to have expired by the
/// local clock.
#[test]
fn a_store_whose_clock_is_wrong_by_days_can_be_restored() {
    with_each(&[3, -3], |days: i64| {
        let retention = "retention: 24h, retention-check-interval: 100ms";
        let remote =
            Remote::with("monitor-interval: 50ms", &format!("sync-interval: 50ms, {retention}"));
        let habits = Habits { clock_ahead: days * 24 * 3600, ..Habits::default() };
        remote.store.set_habits(habits);
        for seed in 2..5 {
            let daemon = remote.replicate();
            remote.site.write(seed, 30);
            daemon.stop();
            remote.check();
        }
    });
}

/// S3 counts in whole seconds. For a moment at the beginning of a second, a restore must not
/// contain all that was committed in that second, such as the mistake that is to be undone.
#[test]
fn a_moment_is_kept_to_though_the_store_counts_in_seconds() {
    let remote = Remote::new();
    let daemon = remote.replicate();
    let database = remote.site.database();
    let mut moments = Vec::new();
    for number in 100..115 {
        let before = remote.keys("/wal/").len();
        insert(&open(&database), number);
        eventually("a segment", || remote.keys("/wal/").len() > before);
        moments.push((SystemTime::now(), rows(&database)));
        thread::sleep(Duration::from_millis(100));
    }
    daemon.stop();
    remote.store.set_times(|time| {
        let since = time.duration_since(UNIX_EPOCH).unwrap();
        UNIX_EPOCH + Duration::from_secs(since.as_secs())
    });
    for (moment, expected) in moments {
        let restored = remote.site.restore(&["-timestamp", &timestamp(moment)]);
        assert_eq!(rows(&restored), expected, "{moment:?}");
    }
}
