//! Told to end while the store is of no use.

use rustix::process::Signal;

use super::{Remote, said, with_each};
use crate::rogue::{Fault, Line, Refusal, Rogue};
use crate::support::eventually;

type Trouble = fn(&Rogue);

const TROUBLES: [Trouble; 4] = [
    |store| store.set_line(Line::Refuses),
    |store| store.set_line(Line::Hangs),
    |store| store.misbehave(Fault::Refuse(Refusal::SLOW_DOWN)),
    |store| store.misbehave(Fault::Refuse(Refusal::DENIED)),
];

#[test]
fn says_in_one_line_what_the_store_did_not_take() {
    with_each(&TROUBLES, |trouble| {
        let remote = Remote::new();
        remote.site.configure_also("shutdown-timeout: 3s");
        let mut daemon = remote.replicate();
        remote.at_work(&daemon);
        trouble(&remote.store);
        remote.site.write(2, 30);
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait(), 75, "{}", daemon.log());
        let lines = said(&daemon);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        for text in ["error: not everything is replicated: ", "app.db are not on replica s3"] {
            assert!(line.contains(text), "{line}");
        }

        remote.store.behave();
        remote.site.replicate().stop();
        assert_eq!(remote.generations(), 1);
        remote.check();
    });
}

#[test]
fn says_in_one_line_that_the_store_never_had_a_snapshot() {
    with_each(&TROUBLES[..3], |trouble| {
        let remote = Remote::new();
        remote.site.configure_also("shutdown-timeout: 3s");
        remote.site.write(1, 30);
        trouble(&remote.store);
        let mut daemon = remote.site.replicate();
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait(), 75, "{}", daemon.log());
        let lines = said(&daemon);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("its snapshot was not stored yet"), "{line}");

        remote.store.behave();
        remote.site.replicate().stop();
        remote.check();
    });
}

#[test]
fn an_end_that_comes_back_in_time_is_a_good_one() {
    let remote = Remote::new();
    remote.site.configure_also("shutdown-timeout: 60s");
    let daemon = remote.replicate();
    remote.at_work(&daemon);
    remote.store.set_line(Line::Refuses);
    remote.site.write(2, 30);
    daemon.signal(Signal::TERM);
    eventually("a failure", || daemon.says("failed, will retry"));
    remote.store.behave();
    daemon.finish();
    remote.check();
}
