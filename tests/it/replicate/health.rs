//! What is reported while something is wrong, and for how long.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::support::{Background, Site, eventually, exchange, insert, open};

/// Without a report, nobody would notice an unreachable store until the database is needed.
#[test]
fn a_replica_that_refuses_is_failing_and_good_again_afterwards() {
    let site = Site::new();
    let mut daemon = site.begin();
    let hidden = site.path("hidden");
    fs::write(&hidden, "no directory").unwrap();
    exchange(&site.replica(), &hidden);
    site.write(2, 2);
    daemon.wait_for("replica is failing");
    exchange(&site.replica(), &hidden);
    // This happens without another write.
    daemon.wait_for("replica is good again");
    daemon.stop();
    site.check();
}

#[test]
fn a_fork_is_failing_until_somebody_acts() {
    let site = Site::new();
    site.write(1, 20);
    site.replicate().stop();
    fs::remove_file(site.database()).unwrap();
    fs::remove_dir_all(site.state()).unwrap();
    site.write(2, 2);
    let mut daemon = site.replicate();
    daemon.wait_for("replica is failing");
    assert!(daemon.says("it holds another history"), "{}", daemon.log());
    daemon.stop();
}

/// A mistyped path must not be reported as good for ever.
#[test]
fn a_database_whose_directory_is_not_there_is_warned_of() {
    let site = Site::new();
    let database = site.path("missing/app.db");
    let [path, replica] = [&database, &site.replica()].map(|path| path.display().to_string());
    let replica = format!("{{path: {replica}, sync-interval: 50ms}}");
    let text = format!("dbs: [{{path: {path}, monitor-interval: 50ms, replicas: [{replica}]}}]\n");
    fs::write(site.config(), text).unwrap();
    // The first daemon makes the directory, for its state.
    for _ in 0..2 {
        let mut daemon = site.start(&mut site.command(&["replicate"]));
        daemon.wait_for("the directory of the database does not exist, or is empty");
        daemon.kill();
    }
    let mut daemon = site.start(&mut site.command(&["replicate"]));
    daemon.wait_for("waiting for the database");
    // The application makes the directory, as one under -exec may.
    fs::create_dir_all(database.parent().unwrap()).unwrap();
    open(&database).execute_batch("CREATE TABLE t (x)").unwrap();
    daemon.wait_for("snapshot written");
    daemon.stop();
}

/// Commits must not restart the timer, or the replica would be good while somebody writes.
#[test]
fn a_database_that_is_not_captured_is_late_though_it_is_written_to() {
    let site = Site::new();
    let mut daemon = site.begin();
    // A missing note would hold up the replica as well.
    let sent = site.state().join("staging/file.replica/sent");
    eventually("a note of what was sent", || sent.exists());
    // The replica looks at the staged segments again.
    thread::sleep(Duration::from_millis(300));
    let hidden = site.path("hidden");
    fs::write(&hidden, "no directory").unwrap();
    exchange(&site.state(), &hidden);
    let path = site.database();
    let writer = Background::start(move |number| {
        insert(&open(&path), u32::try_from(number).unwrap());
        thread::sleep(Duration::from_millis(200));
    });
    daemon.wait_for("replica is late");
    writer.finish();
    assert!(daemon.says("the database is not captured"), "{}", daemon.log());
    daemon.kill();
}

/// Nothing was ever captured here, and that must still be noticed.
#[test]
fn a_database_that_cannot_be_taken_up_is_late() {
    let site = Site::new();
    site.write(1, 20);
    fs::create_dir_all(site.state().join("cursor")).unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("replication is interrupted");
    daemon.wait_for("replica is late");
    assert!(daemon.says("the database is not captured"), "{}", daemon.log());
    fs::remove_dir(site.state().join("cursor")).unwrap();
    daemon.wait_for("replica is good again");
    daemon.stop();
    site.check();
}
