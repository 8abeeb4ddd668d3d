//! Databases that do not continue what their replica holds, and some that only seem not to: no
//! history is lost or hidden, and nothing is uploaded twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Listing, Site, eventually, open, settle, share_replica};

pub(super) fn side_files(database: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| PathBuf::from(format!("{}{suffix}", database.display())))
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A site whose database was replicated and then lost, with everything beside it, and a copy of
/// that database.
pub(super) fn lost_volume() -> (Site, PathBuf) {
    let site = Site::new();
    site.write(1, 100);
    site.replicate().stop();
    let lost = site.keep_copy();
    fs::remove_file(site.database()).unwrap();
    for path in side_files(&site.database()) {
        let _ = fs::remove_file(path);
    }
    fs::remove_dir_all(site.state()).unwrap();
    (site, lost)
}

/// Restores the database into its place, as the sidecar of an application does.
pub(super) fn restore_in_place(site: &Site) {
    let database = site.database();
    let arguments = ["restore", database.to_str().unwrap()];
    site.start(&mut site.command(&arguments)).finish();
}

fn files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

/// If the bucket cannot be reached when the volume is new, the application makes an empty
/// database, whose backup must not be all that is restored from then on.
#[test]
fn a_fresh_database_does_not_eclipse_the_real_one() {
    let (site, lost) = lost_volume();
    let objects = files(&site.replica());
    site.write(2, 3);
    for _ in 0..2 {
        let daemon = site.replicate();
        site.write(3, 2);
        let log = daemon.stop();
        assert!(log.contains("DIVERGED") && log.contains("on-divergence"), "{log}");
        // The command, exactly as the user must give it.
        let (config, database) = (site.config(), site.database());
        let remedy = format!("-force -config {} {}`", config.display(), database.display());
        assert!(log.contains(&remedy), "{log}");
        site.check_fork();
        site.check_restore(&[], &lost);
    }
    assert_eq!(files(&site.replica().join("generations")), objects);
}

/// History expires in the fork, but not in the replica above it, however old it is.
#[test]
fn retention_in_a_fork_leaves_the_real_one_alone() {
    let (site, lost) = lost_volume();
    let objects = files(&site.replica());
    let retention = "retention: 1s, retention-check-interval: 100ms, snapshot-interval: 200ms";
    share_replica(&site, &site, retention);
    site.write(2, 3);
    for _ in 0..2 {
        let daemon = site.replicate();
        eventually("a snapshot in the fork", || {
            site.forks().first().is_some_and(|fork| Listing::of(fork).snapshots() > 0)
        });
        let first = || Listing::of(&site.forks()[0]).only().snapshots[0].clone();
        let before = first();
        let connection = open(&site.database());
        eventually("history of the fork has expired", || {
            connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
            first() != before
        });
        drop(connection);
        daemon.stop();
        site.check_fork();
        assert_eq!(files(&site.replica().join("generations")), objects);
        site.check_restore(&[], &lost);
    }
}

#[test]
fn what_a_fork_was_made_of_may_take_the_place_of_the_rest() {
    let (site, lost) = lost_volume();
    site.write(2, 3);
    site.replicate().stop();
    let generation = site.listing().only().name.clone();
    let replica = format!("path: {}, sync-interval: 50ms", site.replica().display());
    let mut daemon = site.start(&mut site.command(&["replicate", "-on-divergence", "continue"]));
    daemon.wait_for("snapshot written");
    let log = daemon.stop();
    assert!(log.contains("takes its place"), "{log}");
    site.check();
    site.check_restore(&["-generation", &generation], &lost);
    // The option is needed only once.
    site.configure("monitor-interval: 50ms", &[&replica]);
    let daemon = site.replicate();
    site.write(3, 3);
    let log = daemon.stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}

#[test]
fn divergence_may_end_replication() {
    let (site, lost) = lost_volume();
    let replica = format!("path: {}, sync-interval: 50ms", site.replica().display());
    site.configure("on-divergence: stop", &[&replica]);
    site.write(2, 3);
    let mut daemon = site.start(&mut site.command(&["replicate"]));
    assert_eq!(daemon.wait(), 1);
    assert!(daemon.says("does not continue what replica"), "{}", daemon.log());
    assert!(site.forks().is_empty());
    site.check_restore(&[], &lost);

    // The policy was given only after the database went to a fork.
    site.configure("on-divergence: fork", &[&replica]);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    daemon.stop();
    site.configure("on-divergence: stop", &[&replica]);
    let mut daemon = site.start(&mut site.command(&["replicate"]));
    assert_eq!(daemon.wait(), 1);
    assert!(daemon.says("is replicated to fork"), "{}", daemon.log());
    let database = site.database();
    let restore = ["restore", "-force", database.to_str().unwrap()];
    site.start(&mut site.command(&restore)).finish();
    site.replicate().stop();
    site.check();
}

/// A note that cannot be read must not count as missing, or the replica would be written to.
#[test]
fn a_note_of_a_fork_that_is_damaged_is_no_way_into_the_replica() {
    let (site, lost) = lost_volume();
    site.write(2, 3);
    site.replicate().stop();
    let note = site.state().join("staging/file.replica/fork");
    let fork = fs::read(&note).unwrap();
    fs::write(&note, "damaged").unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("cannot read whether the database is replicated to a fork");
    site.write(3, 3);
    fs::write(&note, fork).unwrap();
    daemon.wait_for("DIVERGED");
    daemon.stop();
    site.check_restore(&[], &lost);
    site.check_fork();
}

#[test]
fn who_restores_the_real_one_is_back_in_the_replica() {
    let (site, _) = lost_volume();
    site.write(2, 3);
    site.replicate().stop();
    settle(&site.database());
    fs::rename(site.database(), site.path("eclipse.db")).unwrap();
    restore_in_place(&site);
    let daemon = site.replicate();
    site.write(4, 3);
    let log = daemon.stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}

/// The whole database must not be uploaded again.
#[test]
fn a_restored_database_goes_on_without_a_snapshot() {
    let (site, _) = lost_volume();
    for round in 1..4 {
        restore_in_place(&site);
        // The application may start first.
        let connection = open(&site.database());
        if round > 1 {
            connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
        }
        let mut daemon = site.replicate();
        daemon.wait_for("the generation goes on");
        connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
        drop(connection);
        daemon.stop();
        site.check();
        assert_eq!(site.listing().only().snapshots.len(), 1, "round {round}");
        fs::remove_file(site.database()).unwrap();
        fs::remove_dir_all(site.state()).unwrap();
    }
}

#[test]
fn a_restored_database_that_was_checkpointed_since_is_known_by_its_file() {
    let (site, _) = lost_volume();
    restore_in_place(&site);
    site.write(4, 10);
    settle(&site.database());
    let log = site.replicate().stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}

#[test]
fn who_restores_an_earlier_moment_knows_what_comes_after_it() {
    let site = Site::new();
    site.write(1, 30);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    site.write(2, 30);
    daemon.stop();
    let latest = site.keep_copy();
    let generation = site.listing().only().name.clone();
    fs::remove_file(site.database()).unwrap();
    fs::remove_dir_all(site.state()).unwrap();
    let database = site.database();
    let arguments = ["restore", "-index", "00000000", database.to_str().unwrap()];
    let log = site.start(&mut site.command(&arguments)).finish();
    assert!(!log.contains("there is no WAL of that index"), "{log}");
    site.write(3, 3);
    let log = site.replicate().stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
    site.check_restore(&["-generation", &generation], &latest);
    let beyond = site.fresh("beyond");
    let [to, from] = [&beyond, &database].map(|path| path.to_str().unwrap());
    let arguments = ["restore", "-index", "10", "-o", to, from];
    let log = site.start(&mut site.command(&arguments)).finish();
    assert!(log.contains("there is no WAL of that index"), "as Litestream, which is silent\n{log}");
}

/// If a volume is restored to an earlier state, what is replicated from then on must not hide what
/// came in between, until retention deletes it.
#[test]
fn an_older_copy_of_everything_is_a_fork() {
    let site = Site::new();
    site.write(1, 300);
    site.replicate().stop();
    let older = site.keep_copy();
    copy_directory(&site.state(), &site.path("older state"));

    let daemon = site.replicate();
    site.write(2, 2);
    daemon.stop();
    let newer = site.keep_copy();

    fs::copy(&older, site.database()).unwrap();
    fs::remove_dir_all(site.state()).unwrap();
    copy_directory(&site.path("older state"), &site.state());
    let daemon = site.replicate();
    site.write(3, 2);
    daemon.stop();
    assert_eq!(site.listing().generations.len(), 1);
    site.check_fork();
    site.check_restore(&[], &newer);
}

/// Puts another database in the place of a site's, and returns where the site's is now.
fn take_place(site: &Site) -> PathBuf {
    let other = Site::new();
    other.write(2, 30);
    settle(&other.database());
    let before = site.path("before.db");
    for (from, to) in side_files(&site.database()).iter().zip(side_files(&before)) {
        fs::rename(from, to).unwrap();
    }
    fs::rename(site.database(), &before).unwrap();
    fs::copy(other.database(), site.path("new.db")).unwrap();
    fs::rename(site.path("new.db"), site.database()).unwrap();
    before
}

#[test]
fn another_file_under_the_same_name_is_a_fork() {
    let site = Site::new();
    site.write(1, 20);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    let before = take_place(&site);
    eventually("a fork", || !site.forks().is_empty());
    site.write(3, 10);
    daemon.stop();
    site.check_fork();
    settle(&before);
    site.check_restore(&[], &before);
}

/// Another file takes the place of the database while the daemon waits for the log to end, for its
/// next snapshot. It must look at the new file before it goes on in the replica, or it hides what
/// is there.
#[test]
fn another_file_while_a_snapshot_is_waited_for_is_a_fork() {
    let site = Site::with("monitor-interval: 20ms", "sync-interval: 20ms, snapshot-interval: 50ms");
    site.write(1, 20);
    site.replicate().stop();
    let daemon = site.replicate();
    let reader = open(&site.database());
    reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
    // The log cannot end now, so the snapshot that comes due must wait.
    site.write(2, 5);
    let objects = files(&site.replica());
    eventually("another segment", || files(&site.replica()) > objects);
    // The snapshot is due after this. If not, the test proves less.
    thread::sleep(Duration::from_millis(500));

    let before = take_place(&site);
    eventually("a new generation", || {
        !site.forks().is_empty() || site.listing().generations.len() > 1
    });
    drop(reader);
    daemon.stop();
    site.check_fork();
    settle(&before);
    site.check_restore(&[], &before);
}

#[test]
fn a_database_that_is_removed_and_made_again_is_a_fork() {
    for while_it_runs in [true, false] {
        let site = Site::new();
        site.write(1, 20);
        let daemon = site.replicate();
        eventually("a snapshot", || site.listing().snapshots() == 1);
        let mut running = Some(daemon);
        if !while_it_runs {
            running.take().unwrap().stop();
        }
        for path in side_files(&site.database()) {
            let _ = fs::remove_file(path);
        }
        fs::remove_file(site.database()).unwrap();
        site.write(2, 20);
        let daemon = running.unwrap_or_else(|| site.replicate());
        eventually("a fork", || !site.forks().is_empty());
        daemon.stop();
        site.check_fork();
        assert_eq!(site.listing().generations.len(), 1);
    }
}

#[test]
fn without_what_is_kept_beside_it_a_database_is_known_by_what_it_holds() {
    let site = Site::new();
    site.write(1, 100);
    site.replicate().stop();
    fs::remove_dir_all(site.state()).unwrap();
    let connection = open(&site.database());
    let mut daemon = site.replicate();
    daemon.wait_for("the generation goes on");
    // From here on nothing is copied into the file. The log gets longer than what the replica has
    // of it.
    let reader = open(&site.database());
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    daemon.pause();
    for _ in 0..10 {
        connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    }
    daemon.signal(Signal::CONT);
    daemon.stop();
    assert_eq!(site.listing().only().snapshots.len(), 1);

    // The log still contains the end of what was sent.
    fs::remove_dir_all(site.state()).unwrap();
    let daemon = site.replicate();
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    let log = daemon.stop();
    assert!(log.contains("generation begins") && !log.contains("DIVERGED"), "{log}");
    drop((connection, reader));
    site.check();

    // Nothing is left that could show it.
    fs::remove_dir_all(site.state()).unwrap();
    site.write(5, 100);
    settle(&site.database());
    site.replicate().stop();
    site.check_fork();
}
