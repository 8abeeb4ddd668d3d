//! The health of a replica, as served over HTTP.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::Remote;
use crate::rogue::{Fault, Line, Refusal, Rule};
use crate::support::{Process, eventually};

/// Expects that the one replica is served as good.
fn expect_good(remote: &Remote, daemon: &Process) {
    let db = remote.site.database();
    let line = format!("{{\"db\":\"{}\",\"health\":\"good\",\"replica\":\"s3\"}}\n", db.display());
    assert_eq!(daemon.ask("/health"), (200, line));
}

/// Expects that the replica is served as failing, with this reason and this error.
fn expect_failing(daemon: &Process, reason: &str, error: &str) {
    let (status, line) = daemon.ask("/health");
    assert!(status == 503 && line.contains("\"health\":\"failing\""), "{status} {line}");
    assert!(line.contains(&format!("\"reason\":\"{reason}")), "{line}");
    let (_, found) = line.split_once("\"error\":\"").unwrap();
    assert!(found.contains(error), "{line}");
}

/// A load balancer or an orchestrator knows nothing else. The duration of the outage must not be
/// counted from the last start.
#[test]
fn an_outage_that_lasts_over_a_restart_is_served_until_it_is_over() {
    let remote = Remote::new();
    remote.site.serve();
    let mut daemon = remote.replicate();
    remote.at_work(&daemon);
    expect_good(&remote, &daemon);
    remote.store.set_line(Line::Refuses);
    remote.site.write(2, 2);
    eventually("a staged segment", || !remote.site.staged().is_empty());
    daemon.kill();
    let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
    for segment in remote.site.staged() {
        File::options().write(true).open(segment).unwrap().set_modified(an_hour_ago).unwrap();
    }

    daemon = remote.site.replicate();
    daemon.wait_for("replica is failing");
    eventually("an error", || daemon.ask("/health").1.contains("\"error\""));
    expect_failing(&daemon, "it does not have commits that are to be sent to it", "efused");
    remote.store.behave();
    daemon.wait_for("replica is good again");
    expect_good(&remote, &daemon);
    remote.finish(daemon);
}

/// The replica must not be reported as good for five seconds, and then only as lacking commits.
#[test]
fn a_store_that_refuses_is_failing_and_named_as_such() {
    let remote = Remote::new();
    remote.site.serve();
    let mut daemon = remote.replicate();
    remote.at_work(&daemon);
    remote.store.misbehave(Rule::from(Fault::Refuse(Refusal::DENIED)));
    remote.site.write(2, 2);
    daemon.wait_for("replica is failing");
    expect_failing(&daemon, "its store refuses what is asked of it", "AccessDenied");
    remote.store.behave();
    daemon.wait_for("replica is good again");
    expect_good(&remote, &daemon);
    remote.finish(daemon);
}
