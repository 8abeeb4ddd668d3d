//! Logs that are removed while the daemon has them open: by a user, or by an application that does
//! not see its locks.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;

use super::divergence::side_files;
use super::overwriting::{checkpointing, settle_under};
use crate::support::{
    Helper, Process, Role, Site, all_is_sent, assert_same, eventually, insert, open, settle,
};

const LOST: &str = "was removed or replaced while it was in use";

/// A site whose commits are all in the database file and in the replica, and its daemon.
fn settled() -> (Site, Process) {
    let site = checkpointing("sync-interval: 50ms");
    site.write(1, 50);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    site.write(2, 5);
    settle_under(&site);
    (site, daemon)
}

fn commit_and_close(connection: Connection, number: u32) {
    insert(&connection, number);
    connection.close().unwrap();
}

/// The daemon must not go on reading a log that no longer has a name, and report success without
/// the later commits.
#[test]
fn what_is_committed_to_the_log_in_its_place_is_replicated() {
    for taken in [2, 1] {
        let (site, mut daemon) = settled();
        for path in &side_files(&site.database())[..taken] {
            fs::remove_file(path).unwrap();
        }
        commit_and_close(open(&site.database()), 100);
        daemon.wait_for(LOST);
        all_is_sent(&site, &site);
        commit_and_close(open(&site.database()), 101);
        all_is_sent(&site, &site);
        let log = daemon.stop();
        assert!(!log.contains("generation ended"), "it is compared, and not sent anew\n{log}");
        site.check();
    }
}

/// While another process has the old files open, we must not have the database open: we would
/// interfere with what SQLite does when the last connection closes, or even truncate a log that is
/// still being written.
const WAITS: &str = "while an application has it open";

/// Commits to files that have no name any more, and checkpoints them as an application does, while
/// the daemon waits; then does so on a new connection.
fn check_old_log(site: &Site, mut daemon: Process, application: Connection) {
    for number in 100..120 {
        insert(&application, number);
    }
    daemon.wait_for(WAITS);
    for number in 120..140 {
        insert(&application, number);
    }
    application.query_one("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    let count = |connection: &Connection| -> i64 {
        connection.query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    };
    let before = count(&application);
    application.close().unwrap();
    let application = open(&site.database());
    assert_eq!(count(&application), before, "nothing is lost");
    commit_and_close(application, 140);
    all_is_sent(site, site);
    daemon.stop();
    site.check();
}

/// Otherwise the database would be damaged, or the application would lose commits.
#[test]
fn an_application_that_still_has_the_old_log_loses_nothing() {
    for taken in [0..2, 1..2, 0..1] {
        let (site, mut daemon) = settled();
        let application = open(&site.database());
        insert(&application, 99);
        all_is_sent(&site, &site);
        for path in &side_files(&site.database())[taken.clone()] {
            fs::remove_file(path).unwrap();
        }
        if taken == (0..2) {
            insert(&application, 99);
            daemon.wait_for("replica is late");
        }
        check_old_log(&site, daemon, application);
    }
}

#[test]
fn a_log_that_is_replaced_by_a_copy_is_not_taken_for_the_one_in_use() {
    let (site, daemon) = settled();
    let application = open(&site.database());
    insert(&application, 99);
    all_is_sent(&site, &site);
    let [log, _] = side_files(&site.database());
    let copy = site.fresh("copy");
    fs::copy(&log, &copy).unwrap();
    fs::rename(copy, log).unwrap();
    check_old_log(&site, daemon, application);
}

/// At its start, the daemon must not make an index of its own, and empty the log under the
/// application.
#[test]
fn a_database_whose_index_was_removed_is_not_touched_at_the_start() {
    let (site, daemon) = settled();
    daemon.stop();
    let application = open(&site.database());
    insert(&application, 99);
    let [_, index] = side_files(&site.database());
    fs::remove_file(index).unwrap();
    let daemon = site.replicate();
    check_old_log(&site, daemon, application);
}

/// The log that SQLite makes in its place is empty, as if nobody had written anything.
#[test]
fn a_log_that_was_removed_is_missed_by_the_next_daemon() {
    for killed in [false, true] {
        let (site, daemon) = settled();
        let application = open(&site.database());
        insert(&application, 99);
        all_is_sent(&site, &site);
        let [log, _] = side_files(&site.database());
        let copy = || application.query_one("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if killed {
            daemon.signal(Signal::STOP);
            fs::remove_file(log).unwrap();
            daemon.kill();
        } else {
            daemon.stop();
            copy().unwrap();
            fs::remove_file(log).unwrap();
        }
        check_old_log(&site, site.replicate(), application);
    }
}

/// At the start, it cannot be seen that the log is another file, but it can be seen that it lacks
/// commits.
#[test]
fn a_copy_of_a_log_that_lacks_what_is_committed_is_an_error() {
    let (site, daemon) = settled();
    daemon.stop();
    let application = open(&site.database());
    insert(&application, 99);
    let [log, _] = side_files(&site.database());
    let copy = site.fresh("copy");
    fs::copy(&log, &copy).unwrap();
    fs::rename(copy, log).unwrap();
    insert(&application, 100);
    let mut daemon = site.replicate();
    daemon.wait_for("replication is interrupted");
    daemon.wait_for("replica is late");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    application.close().unwrap();
}

/// A site whose commits since a checkpoint are all in the log and in the replica, and its daemon.
fn in_the_log() -> (Site, Process) {
    let site = Site::new();
    site.write(1, 50);
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    settle_under(&site);
    for number in 100..110 {
        commit_and_close(open(&site.database()), number);
    }
    all_is_sent(&site, &site);
    (site, daemon)
}

fn rows(site: &Site) -> i64 {
    open(&site.database()).query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// The application comes and goes, and only the daemon has the log open. When the daemon ends,
/// acknowledged commits must not be gone from the database and from the replica.
#[test]
fn a_log_that_only_the_daemon_has_is_brought_into_the_database() {
    for taken in [0..2, 0..1, 1..2] {
        let (site, mut daemon) = in_the_log();
        let before = rows(&site);
        for path in &side_files(&site.database())[taken.clone()] {
            fs::remove_file(path).unwrap();
        }
        if taken == (1..2) {
            commit_and_close(open(&site.database()), 111);
        }
        daemon.wait_for("nothing is lost");
        assert!(rows(&site) >= before);
        commit_and_close(open(&site.database()), 110);
        all_is_sent(&site, &site);
        let log = daemon.stop();
        assert!(!log.contains("generation ended"), "{log}");
        site.check();
    }
}

/// The log is gone when the process dies, wherever it is on its way to give the log its name back.
/// Its content is in the copy and in the replica, and the older state must not replace it there.
#[test]
fn a_daemon_that_dies_with_a_log_that_only_it_has_does_not_hide_it() {
    for place in ["lost-log-copying = kill @ 3", "lost-log-naming = kill"] {
        let (site, mut daemon) = in_the_log();
        let before = site.restore(&[]);
        site.arm(place);
        for path in side_files(&site.database()) {
            fs::remove_file(path).unwrap();
        }
        daemon.wait();
        site.disarm();
        let mut daemon = site.replicate();
        daemon.wait_for("an earlier process died before");
        let names = fs::read_dir(site.home()).unwrap().map(|entry| entry.unwrap().file_name());
        let kept = names.filter(|name| name.to_str().unwrap().starts_with("app.db-wal.lost-"));
        assert_eq!(kept.count(), 1);
        check_fork(&site, daemon, &before);
    }
}

/// The daemon retries, and keeps nobody from the database meanwhile.
#[test]
fn a_log_that_cannot_be_brought_into_the_database_yet_is_held() {
    for failing in ["lost-log-copying", "lost-log-naming"] {
        let (site, mut daemon) = in_the_log();
        let before = rows(&site);
        site.arm(&format!("{failing} = enospc"));
        let [log, _] = side_files(&site.database());
        fs::remove_file(log).unwrap();
        daemon.wait_for("replication is interrupted");
        drop(open(&site.database()));
        site.disarm();
        daemon.wait_for("nothing is lost");
        assert_eq!(rows(&site), before);
        daemon.stop();
        site.check();
    }
}

/// What was in the log is gone from the database. The replica must not follow, and lose it as
/// well.
#[test]
fn what_was_lost_with_its_log_stays_in_the_replica() {
    for is_open in [false, true] {
        let (site, mut daemon) = in_the_log();
        let before = site.restore(&[]);
        daemon.signal(Signal::STOP);
        for path in side_files(&site.database()) {
            fs::remove_file(path).unwrap();
        }
        let application = open(&site.database());
        insert(&application, 200);
        let application = is_open.then_some(application);
        daemon.signal(Signal::CONT);
        daemon.wait_for("with it what was committed since the last checkpoint");
        check_fork(&site, daemon, &before);
        drop(application);
    }
}

/// With the index that is still in use, the application continues after the removed log, in a new
/// file that begins with a hole.
#[test]
fn what_an_application_adds_to_a_log_that_was_removed_is_joined_to_it() {
    let (site, mut daemon) = in_the_log();
    daemon.signal(Signal::STOP);
    let [log, _] = side_files(&site.database());
    fs::remove_file(log).unwrap();
    let application = Connection::open(site.database()).unwrap();
    // This reads nothing that was in the log.
    application.execute_batch("PRAGMA user_version = 7").unwrap();
    drop(application);
    daemon.signal(Signal::CONT);
    daemon.wait_for("nothing is lost");
    commit_and_close(open(&site.database()), 200);
    all_is_sent(&site, &site);
    daemon.stop();
    site.check();
}

/// The content of a page that was captured before the start is only in the log.
#[test]
fn a_log_of_which_an_earlier_daemon_has_captured_a_part_is_kept_as_well() {
    let (site, daemon) = in_the_log();
    daemon.kill();
    let mut daemon = site.replicate();
    for number in 110..120 {
        commit_and_close(open(&site.database()), number);
    }
    all_is_sent(&site, &site);
    let before = rows(&site);
    let [log, _] = side_files(&site.database());
    fs::remove_file(log).unwrap();
    daemon.wait_for("nothing is lost");
    assert_eq!(rows(&site), before);
    daemon.stop();
    site.check();
}

/// The owner of the directory could otherwise have another user's file overwritten.
#[test]
fn a_log_is_not_written_through_a_link() {
    let (site, mut daemon) = in_the_log();
    let precious = site.path("precious");
    fs::write(&precious, "precious").unwrap();
    std::os::unix::fs::symlink(&precious, site.path("app.db-wal.rejoined")).unwrap();
    let [log, _] = side_files(&site.database());
    let mode = fs::metadata(&log).unwrap().permissions();
    fs::remove_file(&log).unwrap();
    daemon.wait_for("nothing is lost");
    assert_eq!(fs::read_to_string(precious).unwrap(), "precious");
    assert_eq!(fs::metadata(&log).unwrap().permissions(), mode);
    daemon.stop();
    site.check();
}

/// A copy that takes the name of the database is the same database, and the log is its log.
#[test]
fn a_copy_that_takes_the_name_of_a_database_keeps_its_log() {
    let (site, mut daemon) = in_the_log();
    let before = rows(&site);
    let copy = site.fresh("copy");
    fs::copy(site.database(), &copy).unwrap();
    fs::rename(copy, site.database()).unwrap();
    daemon.wait_for("was replaced by another one");
    assert_eq!(rows(&site), before);
    daemon.kill();
}

/// This is the usual way to restore in place: the log must not be applied to the backup, which
/// would then be malformed, and replace the good history.
#[test]
fn a_log_is_not_put_over_another_state_of_the_database() {
    for (is_older, pause) in [(true, 0), (false, 0), (true, 300)] {
        let site = Site::new();
        site.write(1, 50);
        let older = site.keep_copy();
        let other = site.fresh("other");
        open(&other).execute_batch("CREATE TABLE u (x); INSERT INTO u VALUES (1)").unwrap();
        settle(&other);
        site.write(2, 50);
        let mut daemon = site.replicate();
        daemon.wait_for("snapshot written");
        for number in 100..110 {
            commit_and_close(open(&site.database()), number);
        }
        all_is_sent(&site, &site);
        let before = site.restore(&[]);
        let backup = if is_older { &older } else { &other };
        fs::copy(backup, site.database()).unwrap();
        thread::sleep(Duration::from_millis(pause));
        for path in side_files(&site.database()) {
            // The daemon may have closed the database by now.
            let _ = fs::remove_file(path);
        }
        daemon.wait_for("in place");
        daemon.wait_for("DIVERGED");
        eventually("a fork", || !site.forks().is_empty());
        daemon.stop();
        site.check_restore(&[], &before);
        settle(&site.database());
        assert_same(&site.database(), backup);
    }
}

/// Half of a log is not an older state: the rest was committed. What the file is then must not
/// replace what has been replicated.
#[test]
fn a_log_of_which_half_is_cut_off_does_not_harm_the_replica() {
    for is_running in [true, false] {
        let (site, mut daemon) = in_the_log();
        let before = site.restore(&[]);
        let [log, _] = side_files(&site.database());
        let cut = || {
            let file = fs::File::options().write(true).open(&log).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        };
        if is_running {
            cut();
        } else {
            daemon.kill();
            cut();
            daemon = site.replicate();
        }
        check_fork(&site, daemon, &before);
    }
}

/// The log must not get its name back beside another database, since SQLite would apply it to that
/// one.
#[test]
fn a_log_is_not_left_to_another_database_of_that_name() {
    let (site, mut daemon) = in_the_log();
    let moved = site.path("moved.db");
    let other = site.fresh("other");
    open(&other).execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    settle(&other);
    let before = rows(&site);
    fs::rename(site.database(), &moved).unwrap();
    fs::rename(&other, site.database()).unwrap();
    daemon.wait_for("was replaced by another one");
    assert_eq!(rows(&site), 1);
    let moved = Connection::open(moved).unwrap();
    let found: i64 = moved.query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(found, before, "all of the log was brought into the file");
    eventually("a fork", || !site.forks().is_empty());
    daemon.stop();
    site.check_fork();
}

/// The application dies with the only descriptor of the log, and what was not in the database file
/// is lost.
#[test]
fn what_an_application_loses_that_dies_with_the_old_log_stays_in_the_replica() {
    let (site, mut daemon) = in_the_log();
    let before = site.restore(&[]);
    let application = Helper::start(Role::Reader, &site.database());
    let [log, _] = side_files(&site.database());
    fs::remove_file(log).unwrap();
    daemon.wait_for(WAITS);
    application.kill();
    daemon.wait_for("the database has gone back");
    check_fork(&site, daemon, &before);
}

/// A generation of the damaged file must not replace the good one, and the daemon must not end
/// with 0.
#[test]
fn a_log_that_is_cut_off_does_not_harm_the_replica() {
    for is_open in [false, true] {
        let (site, mut daemon) = in_the_log();
        let before = site.restore(&[]);
        let application = is_open.then(|| open(&site.database()));
        let [log, _] = side_files(&site.database());
        fs::File::create(log).unwrap();
        daemon.wait_for("was cut off while it was in use");
        drop(application);
        check_fork(&site, daemon, &before);
    }
}

fn check_fork(site: &Site, mut daemon: Process, before: &Path) {
    daemon.wait_for("DIVERGED");
    eventually("a fork", || !site.forks().is_empty());
    daemon.stop();
    site.check_restore(&[], before);
}
