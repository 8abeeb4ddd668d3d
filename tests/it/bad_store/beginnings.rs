//! A store that misbehaves from the start.

use super::{Remote, said, with_each};
use crate::rogue::{Fault, Refusal, Rule};

#[test]
fn a_store_that_forbids_everything_ends_the_process_with_its_reason() {
    with_each(&[Refusal::DENIED, Refusal::NO_BUCKET, Refusal::QUOTA], |refusal| {
        let remote = Remote::new();
        remote.site.write(1, 10);
        remote.store.misbehave(Fault::Refuse(refusal));
        let mut daemon = remote.site.start(&mut remote.site.command(&["replicate"]));
        assert_eq!(daemon.wait(), 1, "{}", daemon.log());
        let [line] = &said(&daemon)[..] else { panic!("{}", daemon.log()) };
        assert!(line.starts_with("error: replica s3 of ") && line.contains(refusal.code), "{line}");

        remote.store.behave();
        remote.site.replicate().stop();
        remote.check();
    });
}

#[test]
fn a_store_that_forbids_one_request_in_two_is_used() {
    let remote = Remote::new();
    remote.site.write(1, 30);
    // The first request is not refused, or the daemon would give up.
    let rule = Rule::from(Fault::Refuse(Refusal::SLOW_DOWN)).sometimes(0.5);
    remote.store.misbehave(rule);
    let daemon = remote.replicate();
    remote.site.write(2, 30);
    remote.store.behave();
    remote.finish(daemon);
}
