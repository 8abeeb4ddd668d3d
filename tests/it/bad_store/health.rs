//! How good a replica is, for whoever asks over HTTP.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::Remote;
use crate::rogue::{Fault, Line, Refusal, Rule};
use crate::support::eventually;

/// What is served of the one replica. `reason` is what follows the health.
fn line(remote: &Remote, health: &str, reason: &str) -> String {
    let db = remote.site.database();
    let db = db.display();
    format!("{{\"db\":\"{db}\",\"health\":\"{health}\"{reason},\"replica\":\"s3\"}}\n")
}

/// A load balancer and an orchestrator know nothing else. How long the outage had lasted was
/// counted anew from each start.
#[test]
fn an_outage_that_lasts_over_a_restart_is_served_until_it_is_over() {
    let remote = Remote::new();
    remote.site.serve();
    let mut daemon = remote.replicate();
    remote.at_work(&daemon);
    assert_eq!(daemon.ask("/health"), (200, line(&remote, "good", "")));
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
    let reason = ",\"reason\":\"it does not have commits that are to be sent to it\"";
    assert_eq!(daemon.ask("/health"), (503, line(&remote, "failing", reason)));
    remote.store.behave();
    daemon.wait_for("replica is good again");
    assert_eq!(daemon.ask("/health"), (200, line(&remote, "good", "")));
    remote.finish(daemon);
}

/// It was good for five seconds, and then only said to lack commits.
#[test]
fn a_store_that_refuses_is_failing_and_named_as_such() {
    let remote = Remote::new();
    remote.site.serve();
    let mut daemon = remote.replicate();
    remote.at_work(&daemon);
    remote.store.misbehave(Rule::from(Fault::Refuse(Refusal::DENIED)));
    remote.site.write(2, 2);
    daemon.wait_for("replica is failing");
    let reason = ",\"reason\":\"its store refuses what is asked of it: see the log\"";
    assert_eq!(daemon.ask("/health"), (503, line(&remote, "failing", reason)));
    remote.store.behave();
    daemon.wait_for("replica is good again");
    assert_eq!(daemon.ask("/health"), (200, line(&remote, "good", "")));
    remote.finish(daemon);
}
