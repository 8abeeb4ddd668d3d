//! State directories that are removed while the daemon uses them.

use std::fs;

use super::divergence::restore_in_place;
use crate::support::{Site, all_is_sent, eventually, insert, open};

/// Otherwise the daemon would log this twice a minute and capture nothing, and the next one, which
/// knows nothing of the replica, would go on in a fork.
#[test]
fn a_state_directory_that_is_removed_is_made_anew() {
    for with_pending in [false, true] {
        let site = Site::new();
        let mut daemon = site.begin();
        all_is_sent(&site, &site);
        if with_pending {
            site.arm("object-writing = eio");
            for number in 200..210 {
                insert(&open(&site.database()), number);
            }
            daemon.wait_for("sending a segment failed");
        }
        // Rename it in one step: the daemon may be writing to it.
        fs::rename(site.state(), site.fresh("gone")).unwrap();
        site.disarm();
        insert(&open(&site.database()), 101);
        daemon.wait_for("the state directory was removed");
        all_is_sent(&site, &site);
        let log = daemon.stop();
        assert!(!log.contains("DIVERGED"), "{log}");
        site.check();
        let daemon = site.replicate();
        insert(&open(&site.database()), 102);
        let log = daemon.stop();
        assert!(!log.contains("DIVERGED") && !log.contains("generation begins"), "{log}");
        site.check();
    }
}

/// Otherwise the next daemon would know nothing of what could not be written at first.
#[test]
fn a_state_directory_is_written_anew_until_all_of_it_is_there() {
    let site = Site::new();
    let mut daemon = site.begin();
    all_is_sent(&site, &site);
    site.arm("state-renaming = enospc");
    fs::rename(site.state(), site.fresh("gone")).unwrap();
    insert(&open(&site.database()), 100);
    daemon.wait_for("replication is interrupted");
    site.disarm();
    daemon.wait_for("replication goes on");
    daemon.kill();
    insert(&open(&site.database()), 101);
    let log = site.replicate().stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}

/// It must not go on in another fork each time.
#[test]
fn a_database_that_is_moved_away_and_back_is_the_same() {
    let site = Site::new();
    let daemon = site.begin();
    let away = site.path("away.db");
    for number in 100..102 {
        insert(&open(&site.database()), number);
        all_is_sent(&site, &site);
        fs::rename(site.database(), &away).unwrap();
        let waiting = "waiting for the database: there is no file";
        let times = usize::try_from(number - 99).unwrap();
        eventually("it is missed", || daemon.log().matches(waiting).count() == times);
        fs::rename(&away, site.database()).unwrap();
        insert(&open(&site.database()), number);
        all_is_sent(&site, &site);
    }
    let log = daemon.stop();
    assert!(!log.contains("DIVERGED"), "{log}");
    site.check();
}

#[test]
fn a_database_that_was_restored_is_no_other_one_when_its_state_is_lost() {
    let site = Site::new();
    site.write(1, 20);
    site.replicate().stop();
    fs::remove_file(site.database()).unwrap();
    restore_in_place(&site);
    let mut daemon = site.replicate();
    insert(&open(&site.database()), 100);
    all_is_sent(&site, &site);
    // Rename it in one step: the daemon may be writing to it.
    fs::rename(site.state(), site.fresh("gone")).unwrap();
    insert(&open(&site.database()), 101);
    daemon.wait_for("the state directory was removed");
    all_is_sent(&site, &site);
    daemon.stop();
    for number in 102..104 {
        let daemon = site.replicate();
        insert(&open(&site.database()), number);
        let log = daemon.stop();
        assert!(!log.contains("DIVERGED") && !log.contains("was restored"), "{log}");
    }
    site.check();
}
