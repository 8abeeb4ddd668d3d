//! Validation of a database with several replicas.

use std::fs;
use std::path::Path;

use super::{insert, lose_the_index, rows};
use crate::support::{Site, eventually, open};

const NAMES: [&str; 2] = ["one", "other"];

/// Configures two replicas, of which only the named ones are validated.
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

/// The exit code, the log and the rows of a restore of what was last proven.
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

/// 10 rows are proven for one replica, 20 for the other, and 30 for none.
fn proven_in_turn() -> Site {
    let site = Site::new();
    open(&site.database()).execute_batch("CREATE TABLE victim (x)").unwrap();
    for validated in [&NAMES[..1], &NAMES[1..], &[]] {
        insert(&open(&site.database()), 10);
        // Send everything before it is validated, so that a restore of everything is recorded.
        configure(&site, &[]);
        site.replicate().stop();
        configure(&site, validated);
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

/// An altered record, or a replica that cannot be reached, must not keep the other one from being
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

/// The other replica, which is not validated, must not lose the history from before the damage.
#[test]
fn damage_that_one_replica_shows_keeps_the_history_of_all() {
    let site = Site::new();
    let expiring = "sync-interval: 20ms, snapshot-interval: 200ms, retention: 300ms, \
                    retention-check-interval: 100ms";
    let [one, other] =
        NAMES.map(|name| format!("name: {name}, path: {}", site.path(name).display()));
    let validated = "sync-interval: 20ms, snapshot-interval: 300ms, validation-interval: 50ms";
    let one = format!("{one}, {validated}");
    site.configure("monitor-interval: 20ms", &[&one, &format!("{other}, {expiring}")]);
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE victim (x); CREATE INDEX found ON victim (x)").unwrap();
    let mut daemon = site.replicate();
    insert(&connection, 20);
    daemon.wait_for("status=ok");
    lose_the_index(&connection);
    eventually("damage is found", || {
        insert(&connection, 1);
        daemon.says("the database itself is damaged")
    });
    let damaged = daemon.log().len();
    let later = || daemon.log().split_off(damaged);
    eventually("something would expire", || {
        insert(&connection, 1);
        later().lines().any(|line| line.contains("history is kept") && line.contains("name=other"))
    });
    connection.execute_batch("VACUUM").unwrap();
    eventually("history expires again", || {
        insert(&connection, 1);
        let log = later();
        log.rfind("delete expired history") > log.rfind("history is kept")
    });
    drop(connection);
    daemon.stop();
    site.check();
}
