//! Long operations report their progress.

use crate::support::{Site, eventually};

#[test]
fn a_snapshot_that_takes_long_says_how_far_it_is() {
    let site = Site::new();
    // For each MiB.
    site.arm("snapshot-reading = slow 2s");
    let database = rusqlite::Connection::open(site.database()).unwrap();
    let large = "CREATE TABLE large (data BLOB); INSERT INTO large VALUES (randomblob(5000000))";
    database.execute_batch(large).unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("\"writing snapshot\"");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("\"writing snapshot\"")).unwrap();
    assert!(line.contains("app.db") && line.contains("percent="), "{line}");
    eventually("a snapshot", || site.listing().snapshots() > 0);
    site.disarm();
    daemon.stop();
}

#[test]
fn a_full_verification_that_takes_long_says_how_far_it_is() {
    let site = Site::new();
    site.write(1, 3);
    site.replicate().stop();
    site.arm("object-reading = slow 3s");
    let database = site.database();
    let verify = ["verify", "-full", "-json", database.to_str().unwrap()];
    let output = site.command(&verify).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("verifying: 0 % of 1 MB"), "{said}");
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
}
