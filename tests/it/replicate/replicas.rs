//! Several replicas, some of which cannot be reached.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use litestream::failpoint::Failpoint;
use rustix::process::Signal;

use super::about_to_restart::often_checkpointed;
use crate::support::{
    Process, Site, Workload, all_is_sent, assert_same, eventually, exchange, insert, open,
    restored, settle,
};

/// Two replicas. The second is in `far/replica`, and cannot be reached while `far` is a file.
fn site(shutdown_timeout: &str) -> Site {
    site_with(shutdown_timeout, "")
}

/// Two replicas, with additional settings of the second one.
fn site_with(shutdown_timeout: &str, far: &str) -> Site {
    let site = Site::new();
    let replica = |name: &str, path: &str| {
        format!("name: {name}, path: {}, sync-interval: 20ms", site.path(path).display())
    };
    site.configure(
        "monitor-interval: 20ms, min-checkpoint-page-count: 20",
        &[&replica("near", "replica"), &format!("{}, {far}", replica("far", "far/replica"))],
    );
    site.configure_also(&format!("shutdown-timeout: {shutdown_timeout}"));
    site
}

/// A site with two replicas that have a snapshot, and its daemon.
fn begun(shutdown_timeout: &str) -> (Site, Process) {
    let site = site(shutdown_timeout);
    site.write(1, 50);
    let daemon = site.replicate();
    eventually("a snapshot on both", || daemon.log().matches("snapshot written").count() == 2);
    (site, daemon)
}

fn far_snapshots(site: &Site) -> usize {
    crate::support::Listing::of(&site.path("far/replica")).snapshots()
}

fn check_both(site: &Site) {
    site.check();
    for replica in ["near", "far"] {
        site.check_restore(&["-replica", replica], &site.database());
    }
}

/// Moves the second replica away, and puts a file in its place.
fn cut_off(site: &Site) {
    fs::write(site.path("away"), "").unwrap();
    exchange(&site.path("far"), &site.path("away"));
}

fn reconnect(site: &Site) {
    exchange(&site.path("far"), &site.path("away"));
    fs::remove_file(site.path("away")).unwrap();
}

/// Stops a daemon. Returns its exit code and the lines that are not log lines.
fn end(mut daemon: Process) -> (i32, Vec<String>) {
    daemon.signal(Signal::TERM);
    let status = daemon.wait();
    let log = daemon.log();
    (status, log.lines().filter(|line| !line.starts_with("time=")).map(str::to_owned).collect())
}

#[test]
fn each_replica_gets_everything() {
    let site = site("20s");
    site.write(1, 50);
    let daemon = site.replicate();
    site.write(2, 200);
    daemon.stop();
    check_both(&site);
}

#[test]
fn a_replica_that_was_never_reached_joins_later() {
    let site = site("20s");
    fs::write(site.path("far"), "").unwrap();
    site.write(1, 50);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    site.write(2, 200);
    fs::remove_file(site.path("far")).unwrap();
    site.write(3, 50);
    eventually("a snapshot on the other", || far_snapshots(&site) == 1);
    site.write(4, 50);
    daemon.stop();
    check_both(&site);
}

#[test]
fn a_replica_that_comes_back_gets_what_it_missed() {
    let (site, daemon) = begun("20s");
    for seed in 2..5 {
        cut_off(&site);
        site.write(seed, 100);
        reconnect(&site);
        site.write(seed, 10);
    }
    daemon.stop();
    check_both(&site);
    assert_eq!((far_snapshots(&site), site.listing().snapshots()), (1, 1));
}

/// It is no longer known what was captured last, and one of the replicas is behind the other.
#[test]
fn a_replica_that_lacks_what_another_one_has_begins_anew_behind_a_hole() {
    let (site, daemon) = begun("20s");
    for seed in 2..5 {
        site.write(seed, 50);
    }
    daemon.stop();
    fs::remove_file(site.state().join("cursor")).unwrap();
    let far = crate::support::Listing::of(&site.path("far/replica"));
    let generation = far.only();
    let newest = generation.segments.last().unwrap();
    let newest = format!("far/replica/generations/{}/wal/{newest}.wal.lz4", generation.name);
    fs::remove_file(site.path(&newest)).unwrap();

    let daemon = site.replicate();
    eventually("a snapshot on the other", || far_snapshots(&site) == 2);
    site.write(5, 50);
    let log = daemon.stop();
    assert!(log.contains("the generation goes on"), "{log}");
    check_both(&site);
    assert!(!site.path(&newest).exists(), "there is a hole");
    assert_eq!((far_snapshots(&site), site.listing().snapshots()), (2, 1));
    site.start(&mut site.command(&["verify", "-full"])).finish();
}

#[test]
fn what_a_replica_lacks_at_the_end_is_said_and_sent_later() {
    let (site, daemon) = begun("300ms");
    cut_off(&site);
    site.write(2, 50);
    let (status, said) = end(daemon);
    assert_eq!(status, 75, "{said:?}");
    let [line] = &said[..] else { panic!("{said:?}") };
    for text in ["error: not everything is replicated: ", " not on replica far"] {
        assert!(line.contains(text), "{line}");
    }
    assert!(!line.contains("near"), "{line}");

    // The replica is still away, and the next daemon reports the same.
    let daemon = site.replicate();
    let (status, said) = end(daemon);
    assert_eq!(status, 75, "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");

    reconnect(&site);
    site.replicate().stop();
    check_both(&site);
    assert_eq!((far_snapshots(&site), site.listing().snapshots()), (1, 1));
}

#[test]
fn a_replica_that_has_nothing_at_the_end_is_named() {
    let site = site("300ms");
    fs::write(site.path("far"), "").unwrap();
    site.write(1, 50);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let (status, said) = end(daemon);
    assert_eq!(status, 75, "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("replica far"), "{said:?}");
    assert!(!said[0].contains("near"), "{said:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = site("60s");
    fs::write(site.path("far"), "").unwrap();
    site.write(1, 50);
    let mut daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    daemon.signal(Signal::TERM);
    daemon.wait_for("signal received");
    thread::sleep(Duration::from_millis(60));
    let (status, said) = end(daemon);
    assert_eq!(status, 130, "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");
}

/// A network file system that does not answer must not keep the process from ending: it must not
/// wait for the thread that hangs there.
#[test]
#[cfg(debug_assertions)]
fn a_second_signal_ends_it_while_a_directory_hangs() {
    let site = Site::new();
    site.write(1, 50);
    let mut daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    site.arm("object-writing = slow 60s");
    site.write(2, 50);
    eventually("a segment on its way", || {
        let staging = site.state().join("staging");
        fs::read_dir(staging).is_ok_and(|mut entries| entries.next().is_some())
    });
    daemon.signal(Signal::TERM);
    daemon.wait_for("signal received");
    daemon.signal_again();
    assert_eq!(daemon.wait_within(Duration::from_secs(10)), Some(130), "{}", daemon.log());
}

/// What is restored from the other one may be older, which must be reported.
#[test]
fn a_restore_says_that_a_replica_that_cannot_be_reached_may_be_newer() {
    let (site, daemon) = begun("30s");
    daemon.stop();
    cut_off(&site);
    let (mut restore, output) = site.start_restore(&[]);
    restore.wait_for("RESTORED from this replica, and another one may be newer");
    restore.finish();
    settle(&site.database());
    assert_same(&site.database(), &output);
}

#[test]
fn an_outage_does_not_let_the_log_grow() {
    let (site, daemon) = begun("20s");
    cut_off(&site);
    let connection = open(&site.database());
    let mut workload = Workload::new(2);
    eventually("new logs", || {
        workload.step(&connection).unwrap();
        site.listing().only().last_index() > 5
    });
    drop(connection);
    reconnect(&site);
    daemon.stop();
    check_both(&site);
    assert_eq!((far_snapshots(&site), site.listing().snapshots()), (1, 1));
}

/// The staged segments that wait for a replica.
fn staged(site: &Site, replica: &str) -> Vec<PathBuf> {
    let entries = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let directories = entries(site.state().join("staging").join(replica));
    directories.filter(|path| path.is_dir()).flat_map(entries).collect()
}

/// Removes the staged segments of a replica, as the daemon does when they are too many.
fn drop_backlog(site: &Site, replica: &str) {
    eventually("something waits", || !staged(site, replica).is_empty());
    for path in staged(site, replica) {
        fs::remove_file(path).unwrap();
    }
}

/// Too much has been staged for a replica, and was dropped. When the replica comes back, it must
/// not get a snapshot without a look at what it holds: another machine may have restored from it
/// meanwhile and gone on, and what this one writes from then on would be in no restore.
#[test]
fn a_replica_that_rejoins_after_another_daemon_has_gone_on_with_it_gets_a_fork() {
    check_rejoining("");
}

/// The replica has already asked for its next snapshot, and must not just get it.
#[test]
fn a_replica_that_waits_for_its_next_snapshot_and_rejoins_gets_a_fork() {
    check_rejoining("snapshot-interval: 100ms");
}

/// Checks this with additional settings of the replica that is away meanwhile.
fn check_rejoining(settings: &str) {
    let site = site_with("20s", settings);
    site.write(1, 50);
    let mut daemon = site.replicate();
    eventually("a snapshot on both", || daemon.log().matches("snapshot written").count() == 2);
    // From here on the log does not end, so the next snapshot must wait.
    let [connection, reader] = [(); 2].map(|()| open(&site.database()));
    insert(&connection, 0);
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    insert(&connection, 1);
    // The snapshot is due after this. If not, the test proves less.
    thread::sleep(Duration::from_millis(500));
    cut_off(&site);
    insert(&connection, 2);
    all_is_sent(&site, &site);
    drop_backlog(&site, "far.replica");

    let other = Site::new();
    let replica = format!("path: {}, sync-interval: 20ms", site.path("away/replica").display());
    other.configure("monitor-interval: 20ms", &[&replica]);
    let database = other.database();
    let arguments = ["restore", database.to_str().unwrap()];
    other.start(&mut other.command(&arguments)).finish();
    let mut successor = other.replicate();
    successor.wait_for("the generation goes on");
    other.write(2, 5);
    successor.stop();

    reconnect(&site);
    drop(reader);
    daemon.wait_for("DIVERGED");
    insert(&connection, 3);
    drop(connection);
    daemon.stop();
    settle(&other.database());
    let far = site.path("far/replica");
    assert_same(&other.database(), &restored(&site, &far));
    settle(&site.database());
    site.check_restore(&["-replica", "near"], &site.database());
    let forks: Vec<_> = fs::read_dir(far.join("forks")).unwrap().collect();
    let [Ok(fork)] = &forks[..] else { panic!("{forks:?}") };
    assert_same(&site.database(), &restored(&site, &fork.path()));
}

/// The last segment was stored, and its answer was lost, before all staged segments were dropped
/// and the log went on. In the replica, it looks like a segment that this daemon never sent.
#[test]
fn what_was_stored_without_an_answer_is_ours_when_a_replica_rejoins() {
    let site = often_checkpointed();
    let connection = open(&site.database());
    let daemon = site.replicate();
    insert(&connection, 1);
    all_is_sent(&site, &site);
    let [stored, writing] =
        [Failpoint::ObjectRenamed, Failpoint::ObjectWriting].map(Failpoint::name);
    site.arm(&format!("{stored} = eio @ 1\n{writing} = eio @ 2..1000"));
    let segments = site.listing().segments();
    insert(&connection, 2);
    eventually("it is stored", || site.listing().segments() > segments);
    let last = site.listing().only().last_index();
    eventually("the next log waits", || {
        insert(&connection, 3);
        let next_log = format!("{:08x}_00000000", last + 1);
        let staged = staged(&site, "file.replica");
        staged.iter().any(|path| path.to_string_lossy().contains(&next_log))
    });
    drop_backlog(&site, "file.replica");
    site.disarm();
    eventually("it has rejoined", || daemon.log().matches("snapshot written").count() == 2);
    insert(&connection, 4);
    drop(connection);
    let log = daemon.stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}
