//! What was proven last, of a database with several replicas.

use std::fs;
use std::path::Path;

use super::{insert, rows};
use crate::support::{Site, eventually, open};

const NAMES: [&str; 2] = ["one", "other"];

/// A site with two replicas, of which only those that are named are validated.
fn configure(site: &Site, validated: &[&str]) {
    let replicas = NAMES.map(|name| {
        let interval = if validated.contains(&name) { "50ms" } else { "0" };
        let path = site.path(name);
        let path = path.display();
        format!("name: {name}, path: {path}, sync-interval: 20ms, validation-interval: {interval}")
    });
    let [one, other] = &replicas;
    site.configure("monitor-interval: 20ms", &[one, other]);
}

/// The exit code and the log of a restore of what was proven last, and its rows.
fn restore(site: &Site, arguments: &[&str]) -> (i32, String, i64) {
    let [output, database] = [site.fresh("restored"), site.database()];
    let [to, from] = [&output, &database].map(|path| path.to_str().unwrap());
    let arguments = [&["restore", "-last-verified", "-o", to], arguments, &[from]].concat();
    let mut restore = site.start(&mut site.command(&arguments));
    let status = restore.wait();
    assert_eq!(output.exists(), status == 0, "{}", restore.log());
    let rows = if status == 0 { rows(&output) } else { -1 };
    (status, restore.log(), rows)
}

/// 10 rows are proven of one replica, 20 of the other, and 30 of none.
fn proven_in_turn() -> Site {
    let site = Site::new();
    open(&site.database()).execute_batch("CREATE TABLE victim (x)").unwrap();
    for validated in [&NAMES[..1], &NAMES[1..], &[]] {
        configure(&site, validated);
        insert(&open(&site.database()), 10);
        let daemon = site.replicate();
        eventually("it is proven", || {
            let rows = rows(&site.database());
            validated.iter().all(|name| restore(&site, &["-replica", name]).2 == rows)
        });
        daemon.stop();
    }
    site
}

#[test]
fn of_several_replicas_what_was_proven_last_is_restored() {
    let site = proven_in_turn();
    for (arguments, expected) in
        [(&[][..], 20), (&["-replica", "one"], 10), (&["-replica", "other"], 20)]
    {
        let (status, log, rows) = restore(&site, arguments);
        assert_eq!((status, rows), (0, expected), "{log}");
        let name = if expected == 10 { "one" } else { "other" };
        assert!(log.contains(&format!("replica={name}")), "{log}");
    }
}

fn alter(replica: &Path) {
    let record = replica.join("verified");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("proven 1", "proven 2")).unwrap();
}

fn hide(replica: &Path) {
    fs::rename(replica, replica.with_extension("away")).unwrap();
    fs::write(replica, "no directory").unwrap();
}

/// A record that was altered, or a replica that cannot be reached, kept the other one from being
/// restored.
#[test]
fn a_replica_of_which_nothing_is_known_any_more_is_named_and_the_other_one_taken() {
    for spoil in [alter, hide] {
        let site = proven_in_turn();
        spoil(&site.path("other"));
        let (status, log, rows) = restore(&site, &[]);
        assert_eq!((status, rows), (0, 10), "{log}");
        let warning = log.lines().find(|line| line.contains("level=WARN"));
        assert!(warning.is_some_and(|line| line.contains("replica=other")), "{log}");

        spoil(&site.path("one"));
        let (status, log, _) = restore(&site, &[]);
        assert_eq!(status, 1, "{log}");
        let line = log.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(NAMES.iter().any(|name| line.contains(&format!("replica {name:?}"))), "{log}");
    }
}
