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
    // Nothing is to be seen of it before the time for an answer is over.
    let wait = |_: &Signs| {
        thread::sleep(Duration::from_secs(1));
        true
    };
    Remote::new().survives(|store| store.set_line(Line::Hangs), wait);
}

/// In the middle of the head of a request, of its body, and before and in the middle of an answer,
/// when the object is there already.
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
