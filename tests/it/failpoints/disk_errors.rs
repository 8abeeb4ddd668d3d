use crate::support::{Process, Site, eventually, open};

/// A site with a history, on which nothing else happens, and where a daemon is at work.
fn quiet() -> (Site, Process) {
    let site = Site::new();
    site.write(1, 20);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    (site, daemon)
}

/// Makes the last commit for a long time, and expects that it is sent.
fn expect_last_commit_to_be_sent(site: &Site) {
    let before = site.listing().segments();
    open(&site.database()).execute_batch("INSERT INTO t (number) VALUES (1)").unwrap();
    eventually("a segment", || site.listing().segments() > before);
}

/// A segment could not be staged, and what was looked at for it was not looked at again: its
/// transactions were lost with the next checkpoint, and the daemon ended with 0.
#[test]
fn a_segment_that_could_not_be_staged_is_cut_again() {
    let (site, daemon) = quiet();
    site.arm("segment-creating = enospc @ 1");
    expect_last_commit_to_be_sent(&site);
    daemon.stop();
    site.check();
}

/// The cursor could not be written, and yet was moved: its segment was not sent before another one
/// was cut, however long that took.
#[test]
fn a_segment_that_could_not_be_counted_is_cut_again() {
    let (site, daemon) = quiet();
    site.arm("state-renaming = eio @ 1");
    expect_last_commit_to_be_sent(&site);
    daemon.stop();
    site.check();
}

/// What was staged for a snapshot that could not be stored could not be removed, and the daemon
/// ended.
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

/// The database could not be read for a moment, which was taken for a database that is not what
/// was captured from its log, and the generation ended.
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
