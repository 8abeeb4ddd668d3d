use std::fs;

use litestream::failpoint::Failpoint;
use rustix::process::Signal;

use super::{application, for_each, is_of_an_accident, look};
use crate::support::{Ledger, Process, Site, assert_same, eventually, open, settle};

/// The errors of a disk, and how the daemon reports them.
const ERRORS: [(&str, &str); 3] = [
    ("enospc", "No space left on device"),
    ("eio", "Input/output error"),
    ("erofs", "Read-only file system"),
];

const REPLICA: &str = "replica";

fn site(failpoint: Failpoint) -> Site {
    let retention = match failpoint {
        // Restores run meanwhile, and must be done before anything expires.
        Failpoint::ObjectDeleting => "retention: 5s, retention-check-interval: 100ms",
        _ => "",
    };
    let site = Site::with(
        "monitor-interval: 20ms, checkpoint-interval: 100ms, min-checkpoint-page-count: 20",
        &format!("name: {REPLICA}, sync-interval: 20ms, snapshot-interval: 300ms, {retention}"),
    );
    site.configure_also("shutdown-timeout: 2s");
    site
}

/// Whether the daemon can meet an error here while it runs.
fn is_met_while_running(failpoint: Failpoint) -> bool {
    match failpoint {
        // Nothing can fail at some of these, and the others are passed only at the start or the
        // end.
        Failpoint::LogCopied
        | Failpoint::LogBackfilled
        | Failpoint::SnapshotStored
        | Failpoint::PagesBuilt
        | Failpoint::ObjectReading
        | Failpoint::StateSyncing => false,
        _ => !is_of_an_accident(failpoint),
    }
}

/// Whether an error here keeps the last commit from the replica.
fn is_in_the_way(failpoint: Failpoint) -> bool {
    !matches!(
        failpoint,
        Failpoint::LogDrained
            | Failpoint::LogTruncated
            | Failpoint::SnapshotReading
            | Failpoint::ObjectDeleting
    )
}

/// Stops a daemon while something may be wrong: either it reports that something is missing, or
/// the replica is complete.
fn expect_honest_end(site: &Site, mut daemon: Process) -> i32 {
    daemon.signal(Signal::TERM);
    let status = daemon.wait();
    match status {
        0 => {
            settle(&site.database());
            assert_same(&site.database(), &site.restore(&[]));
        }
        75 => assert!(daemon.says("not everything is replicated"), "{}", daemon.log()),
        _ => panic!("ended with {status}\n{}", daemon.log()),
    }
    status
}

#[test]
fn a_disk_that_fails_for_a_while_is_said_and_loses_nothing() {
    let failpoints = Failpoint::ALL.iter().filter(|failpoint| is_met_while_running(**failpoint));
    for_each(failpoints, |&failpoint| {
        let site = site(failpoint);
        let mut seen = 0;
        for (error, text) in ERRORS {
            let script = format!("{} = {error}", failpoint.name());
            let writes = application(&site);
            let daemon = site.replicate();
            // The daemon would end if the store refused the first snapshot.
            expect_progress(&site, &mut seen);

            site.arm(&script);
            eventually(&script, || daemon.says(text));
            site.disarm();
            look(&site, REPLICA, &mut seen);
            expect_progress(&site, &mut seen);

            site.arm(&script);
            writes.finish();
            Ledger::open(&site.database()).step();
            let status = expect_honest_end(&site, daemon);
            site.disarm();
            assert!(status == 75 || !is_in_the_way(failpoint), "{script}");
            look(&site, REPLICA, &mut seen);
        }
        site.replicate().stop();
        site.check();
    });
}

fn expect_progress(site: &Site, seen: &mut i64) {
    let before = *seen;
    eventually("it goes on", || {
        look(site, REPLICA, seen);
        *seen > before
    });
}

/// Errors that are met only when a daemon starts.
#[test]
fn a_disk_that_fails_at_the_start_is_waited_for() {
    for (failpoint, errors) in
        [(Failpoint::PagesBuilt, &ERRORS[..]), (Failpoint::ObjectReading, &ERRORS[1..2])]
    {
        for (error, text) in errors {
            let site = site(failpoint);
            site.write(1, 20);
            if failpoint == Failpoint::ObjectReading {
                site.replicate().stop();
            }
            site.arm(&format!("{} = {error}", failpoint.name()));
            let daemon = site.replicate();
            eventually(text, || daemon.says(text));
            site.write(2, 20);
            assert_eq!(expect_honest_end(&site, daemon), 75);

            let daemon = site.replicate();
            eventually(text, || daemon.says(text));
            site.disarm();
            daemon.stop();
            site.check();
        }
    }
}

/// Errors that are met only when a daemon stops.
#[test]
fn a_disk_that_fails_at_the_end_costs_no_more_than_a_snapshot() {
    for (error, text) in ERRORS {
        let site = site(Failpoint::StateSyncing);
        site.write(1, 20);
        let daemon = site.replicate();
        eventually("a snapshot", || site.listing().snapshots() > 0);
        site.write(2, 20);
        site.arm(&format!("{} = {error}", Failpoint::StateSyncing.name()));
        let log = daemon.stop();
        site.disarm();
        assert!(log.contains("the next start may need a snapshot") && log.contains(text), "{log}");
        site.write(3, 20);
        site.replicate().stop();
        site.check();
    }
}

#[test]
fn a_slow_disk_disturbs_nobody() {
    let site = site(Failpoint::ObjectWriting);
    let writes = application(&site);
    let mut script = String::new();
    for failpoint in Failpoint::ALL {
        // The application waits while the end of the log is captured.
        if *failpoint != Failpoint::PagesWriting {
            script.extend([failpoint.name(), " = slow 5ms\n"]);
        }
    }
    site.arm(&script);
    let daemon = site.replicate();
    eventually("some segments", || site.listing().segments() > 10);
    writes.finish();
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    let status = daemon.wait();
    assert!([0, 75].contains(&status), "{}", daemon.log());
    site.disarm();
    site.replicate().stop();
    site.check();
}

/// A daemon that must end at once must not finish the segment that it is cutting: this may take
/// half a minute, if the transaction is large and the disk slow.
#[test]
fn a_large_transaction_and_a_slow_disk_keep_nobody_from_ending_it() {
    let (site, mut daemon) = quiet();
    site.arm(&format!("{} = slow 1s", Failpoint::PagesWriting.name()));
    let sql = "CREATE TABLE large (x); INSERT INTO large VALUES (randomblob(4000000))";
    open(&site.database()).execute_batch(sql).unwrap();
    let segment = site.state().join("segment.partial");
    eventually("a segment that is being cut", || segment.exists());
    daemon.signal(Signal::TERM);
    eventually("the signal is heard", || daemon.says("signal received"));
    daemon.signal_again();
    assert_eq!(daemon.wait(), 130, "{}", daemon.log());
    assert!(!daemon.says("interrupted"), "{}", daemon.log());
    site.disarm();
    site.replicate().stop();
    site.check();
}

/// If everything is on the replica, the shutdown must not wait for another snapshot.
#[test]
fn a_snapshot_that_nobody_needs_at_the_end_is_not_waited_for() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 20ms, snapshot-interval: 1s");
    let daemon = site.begin();
    site.arm(&format!("{} = slow 3s", Failpoint::SnapshotReading.name()));
    open(&site.database()).execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
    let written = |daemon: &Process| daemon.log().matches("write snapshot").count();
    eventually("another snapshot", || written(&daemon) == 2);
    let log = daemon.stop();
    assert_eq!(log.matches("snapshot written").count(), 1, "{log}");
    site.disarm();
    site.check();
}

/// Repeats must not be logged each time.
#[test]
fn a_failure_that_goes_on_is_not_said_each_time() {
    for failpoint in [Failpoint::ObjectWriting, Failpoint::SegmentCreating] {
        let (site, daemon) = quiet();
        site.arm(&format!("{} = enospc @ 1..5", failpoint.name()));
        expect_last_commit_to_be_sent(&site);
        let log = daemon.stop();
        let lines = log.lines().filter(|line| line.contains("No space left on device")).count();
        // It may be logged a second time after 30 s, on a busy machine.
        assert!((1..=2).contains(&lines), "{log}");
        site.check();
    }
}

/// No file may be left under a name that is not a temporary one.
#[test]
fn a_disk_that_is_full_in_the_middle_of_an_object_leaves_nothing_of_it() {
    let site = site(Failpoint::ObjectWriting);
    // Larger than a single write, and not compressible.
    let connection = open(&site.database());
    let sql = "CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(3000000))";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    site.arm(&format!("{} = enospc @ 2..3", Failpoint::ObjectWriting.name()));
    let daemon = site.replicate();
    eventually("the error", || daemon.says("No space left on device"));
    eventually("a snapshot", || site.listing().snapshots() > 0);
    daemon.stop();
    let mut left = vec![site.path(REPLICA)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(path.extension().unwrap(), "lz4", "{}", path.display());
        }
    }
    site.start(&mut site.command(&["verify", "-full"])).finish();
    site.check();
}

/// A site with a history and a daemon at work, where nothing else happens.
fn quiet() -> (Site, Process) {
    let site = Site::new();
    site.write(1, 20);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    (site, daemon)
}

/// Makes a commit that nothing follows for long, and expects that it is sent.
fn expect_last_commit_to_be_sent(site: &Site) {
    let before = site.listing().segments();
    open(&site.database()).execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
    eventually("a segment", || site.listing().segments() > before);
}

/// If a segment cannot be staged, its frames must be read again: otherwise its transactions would
/// be lost with the next checkpoint, and the daemon would still end with 0.
#[test]
fn a_segment_that_could_not_be_staged_is_cut_again() {
    let (site, daemon) = quiet();
    site.arm("segment-creating = enospc @ 1");
    expect_last_commit_to_be_sent(&site);
    daemon.stop();
    site.check();
}

/// The first segment of a generation cannot be finished, and then its log is restarted, which is
/// allowed if all of it is in the database file. What was seen of the old log cannot be seen
/// again. If the generation went on, its digests would be wrong, and nothing could be restored.
#[test]
fn a_log_that_is_restarted_after_a_segment_failed_ends_the_generation() {
    let site = Site::new();
    let connection = open(&site.database());
    let schema = "PRAGMA wal_autocheckpoint = 0; CREATE TABLE a (x); CREATE TABLE b (x)";
    connection.execute_batch(schema).unwrap();
    for number in 0..20 {
        connection.execute("INSERT INTO a VALUES (?)", [number]).unwrap();
    }
    // The log can be copied, but not emptied.
    let reader = open(&site.database());
    reader.execute_batch("BEGIN; SELECT count(*) FROM a").unwrap();
    site.arm(&format!("{} = eio @ 1..1000", Failpoint::PagesWriting.name()));
    let mut daemon = site.replicate();
    daemon.wait_for("Input/output error");
    drop(reader);
    let log = site.database().with_extension("db-wal");
    let salt = || fs::read(&log).unwrap()[16..24].to_vec();
    let before = salt();
    // The log is not restarted while we look how much is committed, or copy it.
    eventually("the log is restarted", || {
        connection.execute("INSERT INTO b VALUES (1)", ()).unwrap();
        salt() != before
    });
    site.disarm();
    eventually("the new log is sent", || {
        site.listing().generations.iter().any(|found| !found.segments.is_empty())
            || site.listing().snapshots() > 1
    });
    connection.execute("INSERT INTO b VALUES (2)", ()).unwrap();
    drop(connection);
    let log = daemon.stop();
    site.check();
    assert!(log.contains("a segment of it could not be finished"), "{log}");
}

/// If the cursor cannot be written, it must not move: otherwise its segment would not be sent
/// until another one is cut.
#[test]
fn a_segment_that_could_not_be_counted_is_cut_again() {
    let (site, daemon) = quiet();
    site.arm("state-renaming = eio @ 1");
    expect_last_commit_to_be_sent(&site);
    daemon.stop();
    site.check();
}

/// If the disk is full when a segment has been sent, the note of it is lost. The next start must
/// not take what the replica holds for the history of another database.
#[test]
fn what_was_sent_is_known_though_the_disk_was_full() {
    let (site, daemon) = quiet();
    expect_last_commit_to_be_sent(&site);
    let noted = site.state().join("staging/file.replica/sent");
    eventually("that is noted", || noted.exists());
    site.arm(&format!("{} = slow 2s @ 1", Failpoint::SegmentSent.name()));
    expect_last_commit_to_be_sent(&site);
    site.arm(&format!("{} = enospc", Failpoint::StateRenaming.name()));
    eventually("it is sent", || site.staged().is_empty());
    daemon.kill();
    site.disarm();
    // Nothing is left of the log, which would show it as well.
    site.write(2, 20);
    let log = site.replicate().stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}

/// If the staged segments of a snapshot that was not stored cannot be removed, the daemon must not
/// end.
#[test]
fn what_cannot_be_removed_is_no_reason_to_end() {
    let site = Site::new();
    site.write(1, 20);
    site.arm("object-writing = enospc\nstate-removing = eio");
    let daemon = site.replicate();
    eventually("the error", || daemon.says("cannot remove what was staged"));
    site.disarm();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    daemon.stop();
    site.check();
}

/// A database that cannot be read for a moment must not be taken for one that differs from what
/// was captured from its log, which would end the generation.
#[test]
fn a_snapshot_that_cannot_be_read_does_not_end_its_generation() {
    let site =
        Site::with("monitor-interval: 20ms", "sync-interval: 20ms, snapshot-interval: 300ms");
    site.write(1, 20);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    site.arm("snapshot-reading = eio @ 1");
    site.write(2, 20);
    eventually("another snapshot", || site.listing().snapshots() > 1);
    assert!(daemon.says("storing a snapshot failed"));
    daemon.stop();
    site.listing().only();
    site.check();
}
