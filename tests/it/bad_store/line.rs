//! Connections that are refused, hang, are reset or slow.

use std::thread;
use std::time::Duration;

use super::{Remote, Signs, with_each};
use crate::rogue::Line;

fn logged(signs: &Signs) -> bool {
    signs.log.contains("failed, will retry")
}

#[test]
fn refused_connections_only_delay() {
    let refuses = |signs: &Signs| logged(signs) && signs.log.contains("refused");
    Remote::new().survives(|store| store.set_line(Line::Refuses), refuses);
}

#[test]
fn connections_that_hang_only_delay() {
    // Nothing shows this before the time-out for an answer.
    let wait = |_: &Signs| {
        thread::sleep(Duration::from_secs(1));
        true
    };
    Remote::new().survives(|store| store.set_line(Line::Hangs), wait);
}

/// A hanging store must not be reported only after a time-out of half a minute.
#[test]
fn a_store_that_hangs_is_named_within_seconds() {
    let remote = Remote::new();
    let mut daemon = remote.replicate();
    remote.at_work(&daemon);
    remote.store.set_line(Line::Hangs);
    remote.site.write(2, 1);
    daemon.wait_for("the store does not answer");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("does not answer")).unwrap();
    assert!(line.contains("name=s3") && line.contains("app.db"), "{line}");
    remote.store.behave();
    daemon.wait_for("no longer waiting for the store");
    remote.finish(daemon);
}

/// A user who lists a replica, or waits for a restore, must not wait a minute or more for any
/// message.
#[test]
fn a_store_that_hangs_is_named_by_all_who_read_it() {
    let remote = Remote::new();
    let daemon = remote.replicate();
    remote.at_work(&daemon);
    remote.finish(daemon);
    remote.store.set_line(Line::Hangs);
    let (database, output) = (remote.site.database(), remote.site.path("output.db"));
    let (database, output) = (database.to_str().unwrap(), output.to_str().unwrap());
    for arguments in [
        &["restore", "-o", output, database][..],
        &["verify", database],
        &["generations", database],
    ] {
        let mut command = remote.site.start(&mut remote.site.command(arguments));
        command.wait_for("the store does not answer, still waiting");
        command.kill();
    }
    remote.store.behave();
}

/// Resets come within the head of a request, within its body, and before and within an answer,
/// when the object is already stored.
#[test]
fn connections_that_are_reset_only_delay() {
    let lines = [
        Line::ResetsRequests(0),
        Line::ResetsRequests(300),
        Line::ResetsRequests(2000),
        Line::ResetsAnswers(0),
        Line::ResetsAnswers(100),
    ];
    with_each(&lines, |line| Remote::new().survives(|store| store.set_line(line), logged));
}

#[test]
fn a_slow_connection_is_enough() {
    let remote = Remote::new();
    remote.store.set_line(Line::Slow(50_000));
    let daemon = remote.replicate();
    remote.site.write(2, 30);
    remote.finish(daemon);
}
