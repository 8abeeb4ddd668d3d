//! All databases of a directory at once, after the volume that they were on was lost.

use std::fs;
use std::path::PathBuf;

use super::directories::{make, start, tenants};
use crate::support::{Site, assert_same, settle};

const NAMES: [&str; 3] = ["a.db", "b.db", "below/c.db"];

/// A directory with replicated databases, their paths, and copies of them.
fn replicated() -> (Site, Vec<PathBuf>, Vec<PathBuf>) {
    let (site, directory) = tenants("recursive: true");
    fs::create_dir(directory.join("below")).unwrap();
    let databases: Vec<PathBuf> = NAMES.iter().map(|name| directory.join(name)).collect();
    for (rows, database) in (10..).zip(&databases) {
        make(database, rows);
    }
    replicate(&site);
    let kept = databases.iter().map(|database| {
        settle(database);
        let kept = site.fresh("kept");
        fs::copy(database, &kept).unwrap();
        kept
    });
    let kept = kept.collect();
    (site, databases, kept)
}

/// Replicates until all is sent.
fn replicate(site: &Site) {
    let mut daemon = start(site);
    daemon.wait_for("replicating to");
    daemon.stop();
}

fn run(site: &Site, arguments: &[&str]) -> String {
    site.start(&mut site.command(arguments)).finish()
}

#[test]
fn all_that_a_lost_directory_held_is_restored() {
    let (site, databases, kept) = replicated();
    fs::remove_dir_all(site.path("tenants")).unwrap();
    assert_eq!(run(&site, &["databases", "-json"]).matches(".db").count(), 0);
    let listed = run(&site, &["databases", "-all", "-json"]);
    for database in &databases {
        assert!(listed.contains(database.to_str().unwrap()), "{listed}");
    }
    let verified = run(&site, &["verify", "-all"]);
    assert_eq!(verified.matches(" ok").count(), databases.len(), "{verified}");
    site.start(&mut site.command(&["restore", "-all"])).finish();
    for (database, kept) in databases.iter().zip(&kept) {
        assert_same(kept, database);
    }
    // Replication continues where it was.
    make(&databases[0], 3);
    replicate(&site);
    let again = run(&site, &["restore", "-all"]);
    assert_eq!(again.matches("already exists, skipping").count(), databases.len(), "{again}");
}

#[test]
fn what_was_deleted_on_purpose_does_not_come_back() {
    let (site, databases, kept) = replicated();
    fs::remove_file(&databases[0]).unwrap();
    fs::remove_dir_all(databases[2].parent().unwrap()).unwrap();
    let log = run(&site, &["restore", "-all"]);
    assert!(log.contains("was deleted and is left out"), "{log}");
    assert!(!databases[0].exists());
    assert_same(&kept[2], &databases[2]);
    run(&site, &["restore", databases[0].to_str().unwrap()]);
    assert_same(&kept[0], &databases[0]);
}

#[test]
fn one_that_cannot_be_restored_is_in_the_way_of_no_other() {
    let (site, databases, kept) = replicated();
    fs::remove_dir_all(site.path("tenants")).unwrap();
    for entry in fs::read_dir(site.replica().join("a.db/generations")).unwrap() {
        fs::remove_dir_all(entry.unwrap().path().join("snapshots")).unwrap();
    }
    let mut restore = site.start(&mut site.command(&["restore", "-all"]));
    assert_eq!(restore.wait(), 1);
    let log = restore.log();
    assert!(log.contains("error: 1 of 3 databases cannot be restored"), "{log}");
    assert!(log.contains("a.db error="), "{log}");
    assert!(!databases[0].exists());
    for (database, kept) in databases.iter().zip(&kept).skip(1) {
        assert_same(kept, database);
    }
}

/// The bucket of a container's start script may still be empty, or be the wrong one.
#[test]
fn that_there_is_nothing_yet_is_an_error_unless_it_is_expected() {
    let (site, _) = tenants("watch: true");
    let mut restore = site.start(&mut site.command(&["restore", "-all"]));
    assert_eq!(restore.wait(), 1);
    assert!(restore.says("there is nothing to restore"), "{}", restore.log());
    run(&site, &["restore", "-all", "-if-replica-exists"]);
    let mut both = site.start(&mut site.command(&["restore", "-all", "-o", "x"]));
    assert_eq!(both.wait(), 1);
    assert!(both.says("cannot be used with"), "{}", both.log());
}
