//! Daemons that are stopped while the store does not work.

use std::time::Duration;

use litestream::failpoint::Failpoint;
use rustix::process::Signal;

use super::{Remote, said, with_each};
use crate::rogue::{Fault, Line, Refusal, Rogue};
use crate::support::{Helper, Process, Role, eventually, open, settle};

type Trouble = fn(&Rogue);

const TROUBLES: [Trouble; 4] = [
    |store| store.set_line(Line::Refuses),
    |store| store.set_line(Line::Hangs),
    |store| store.misbehave(Fault::Refuse(Refusal::SLOW_DOWN)),
    |store| store.misbehave(Fault::Refuse(Refusal::DENIED)),
];

/// A daemon that is asked to stop while its store is in trouble, with something to send.
fn end_in(trouble: Trouble, shutdown_timeout: &str) -> (Remote, Process) {
    let remote = Remote::new();
    remote.site.configure_also(&format!("shutdown-timeout: {shutdown_timeout}"));
    let daemon = remote.replicate();
    remote.at_work(&daemon);
    trouble(&remote.store);
    remote.site.write(2, 30);
    daemon.signal(Signal::TERM);
    (remote, daemon)
}

/// Expects that the next daemon, with a working store, finishes the work.
fn arrives_later(remote: &Remote) {
    remote.store.behave();
    remote.site.replicate().stop();
    assert_eq!(remote.generations(), 1);
    remote.check();
}

#[test]
fn says_in_one_line_what_the_store_did_not_take() {
    with_each(&TROUBLES, |trouble| {
        let (remote, mut daemon) = end_in(trouble, "3s");
        assert_eq!(daemon.wait(), 75, "{}", daemon.log());
        let lines = said(&daemon);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        for text in ["error: not everything is replicated: ", " not on replica s3"] {
            assert!(line.contains(text), "{line}");
        }

        arrives_later(&remote);
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

/// Much less than any time-out of a request or of the shutdown.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Signals a daemon a second time, so that it ends at once. Returns its error line.
fn end_at_once(daemon: &mut Process) -> String {
    daemon.signal_again();
    assert_eq!(daemon.wait_within(AT_ONCE), Some(130), "{}", daemon.log());
    // The application may have printed something as well.
    let log = daemon.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
    let [line] = lines[..] else { panic!("{log}") };
    assert!(line.starts_with("error: not everything is replicated: "), "{line}");
    line.to_owned()
}

#[test]
fn a_second_signal_waits_for_no_store() {
    with_each(&TROUBLES, |trouble| {
        let (remote, mut daemon) = end_in(trouble, "10m");
        daemon.wait_for("litestream shutting down");
        eventually("a staged segment", || !remote.site.staged().is_empty());
        let line = end_at_once(&mut daemon);
        // Segments, or transactions that are not captured yet.
        for text in ["app.db", " not on replica s3", "sent at the next start"] {
            assert!(line.contains(text), "{line}");
        }

        arrives_later(&remote);
    });
}

#[test]
fn a_second_signal_waits_for_no_first_snapshot() {
    with_each(&TROUBLES[..3], |trouble| {
        let remote = Remote::new();
        remote.site.configure_also("shutdown-timeout: 10m");
        remote.site.write(1, 30);
        trouble(&remote.store);
        let mut daemon = remote.site.replicate();
        daemon.wait_for("initialized db");
        daemon.signal(Signal::TERM);
        daemon.wait_for("litestream shutting down");
        let line = end_at_once(&mut daemon);
        assert!(line.contains("its snapshot was not stored yet"), "{line}");
    });
}

/// The application ends with the first signal, which is passed on to it, or by itself before that,
/// or never. What was not captured then must not be taken for a loss, which would begin a
/// generation.
#[test]
fn a_second_signal_waits_neither_for_a_store_nor_for_the_application() {
    let line = Helper::words().join(" ");
    let deaf = "sh -c 'trap : TERM; echo at work; for i in 1 2 3 4 5 6 7 8; do sleep 1; done'";
    let (late, short) = (Role::LateRow { status: 3 }, Role::Rows { rows: 20, status: 3 });
    let cases = [(line.as_str(), Some(late)), (&line, Some(short)), (deaf, None)];
    with_each(&cases, |(line, role)| {
        let remote = Remote::new();
        remote.site.configure_also("shutdown-timeout: 10m");
        remote.site.write(1, 30);
        remote.site.replicate().stop();
        remote.store.set_line(Line::Hangs);
        let mut command = remote.site.command(&["replicate", "-exec", line]);
        if let Some(role) = role {
            command.envs(Helper::environment(role, &remote.site.database()));
        }
        let mut daemon = remote.site.start(&mut command);
        if role == Some(short) {
            daemon.wait_for("the application has ended");
        } else {
            daemon.wait_for("at work");
        }
        daemon.signal(Signal::TERM);
        daemon.wait_for(match role {
            Some(Role::Rows { .. }) => "litestream is shutting down already",
            Some(_) => "the application has ended",
            None => "passed on to the application",
        });
        let line = end_at_once(&mut daemon);
        assert!(line.contains("replica s3"), "{line}");
        let abandoned = line.contains("the application is still running");
        assert_eq!(abandoned, role.is_none(), "{line}");

        arrives_later(&remote);
    });
}

/// If the log is gone, nothing seems to be left after the cursor. The daemon must still report the
/// transactions that were not compared yet, and not end with the exit code of its child.
#[cfg(debug_assertions)]
#[test]
fn a_comparison_that_a_second_signal_cuts_off_leaves_something() {
    let remote = Remote::new();
    // Enough rows that most pages will stay the same.
    remote.site.write(1, 500);
    let daemon = remote.replicate();
    remote.at_work(&daemon);
    daemon.kill();
    open(&remote.site.database()).execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    settle(&remote.site.database());
    remote.site.configure_also("logging: {level: debug}");
    remote.site.arm(&format!("{} = slow 1500ms", Failpoint::SegmentCreating.name()));
    let mut daemon = remote.site.replicate();
    daemon.wait_for("replica goes on");
    daemon.signal(Signal::TERM);
    daemon.wait_for("litestream shutting down");
    let line = end_at_once(&mut daemon);
    assert!(line.contains("what was committed last may not be on replica s3"), "{line}");

    remote.site.disarm();
    arrives_later(&remote);
}
