//! Applications that run as a child, and signals at odd moments.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Helper, Process, Role, Site, eventually, open};

/// Replicates with an application as a child.
fn start(site: &Site, role: Role) -> Process {
    let line = Helper::words().join(" ");
    let mut command = site.command(&["replicate", "-exec", &line]);
    command.envs(Helper::environment(role, &site.database()));
    site.start(&mut command)
}

fn rows(site: &Site) -> i64 {
    let restored = open(&site.restore(&[]));
    restored.query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_a_short_lived_application_wrote_is_replicated() {
    for (status, count) in [(0, 1), (3, 40), (0, 40), (143, 2)] {
        let site = Site::new();
        let mut daemon = start(&site, Role::Rows { rows: count, status });
        assert_eq!(daemon.wait(), status, "{}", daemon.log());
        assert_eq!(rows(&site), i64::from(count));
        site.check();
    }
}

/// As when its terminal is closed.
#[test]
fn a_hangup_is_a_request_to_end_unless_it_is_ignored() {
    let site = Site::new();
    let daemon = site.begin();
    site.write(2, 10);
    // The tests may themselves run under `nohup`.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let is_ignored = u64::from_str_radix(ignored, 16).unwrap() & 1 == 1;
    daemon.signal(if is_ignored { Signal::TERM } else { Signal::HUP });
    daemon.finish();
    site.check();
    let mut command = std::process::Command::new("nohup");
    let daemon = site.command(&["replicate"]);
    command.arg(daemon.get_program()).args(daemon.get_args());
    let variables = daemon.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut daemon = site.start(command.envs(variables));
    daemon.wait_for("replica goes on");
    daemon.signal(Signal::HUP);
    site.write(3, 10);
    assert_eq!(daemon.wait_within(Duration::from_millis(500)), None, "{}", daemon.log());
    daemon.stop();
    site.check();
}

#[test]
fn what_an_application_writes_when_it_is_told_to_end_is_replicated() {
    for (status, signal) in [(0, Signal::TERM), (3, Signal::TERM)] {
        let site = Site::new();
        let mut daemon = start(&site, Role::LateRow { status });
        daemon.wait_for("at work");
        daemon.signal(signal);
        assert_eq!(daemon.wait(), status, "{}", daemon.log());
        assert_eq!(rows(&site), 2);
        site.check();
    }
}

/// The process must also end if the command cannot be run: the threads of the databases must be
/// asked to stop.
#[test]
fn an_application_that_writes_nothing_is_no_failure() {
    let site = Site::new();
    let mut daemon = site.start(&mut site.command(&["replicate", "-exec", "sh -c 'exit 5'"]));
    assert_eq!(daemon.wait(), 5, "{}", daemon.log());
    let mut daemon = site.start(&mut site.command(&["replicate", "-exec", "sh -c 'kill -9 $$'"]));
    assert_eq!(daemon.wait(), 137, "{}", daemon.log());
    let mut daemon = site.start(&mut site.command(&["replicate", "-exec", "/nowhere/at/all"]));
    assert_eq!(daemon.wait(), 1, "{}", daemon.log());
    assert!(daemon.says("error: run \"/nowhere/at/all\": "), "{}", daemon.log());
}

#[test]
fn a_signal_right_after_the_start_is_no_excuse() {
    for pause in [0, 1, 2, 5, 10, 20, 40] {
        let site = Site::new();
        site.write(1, 10);
        let mut daemon = site.start(&mut site.command(&["replicate"]));
        thread::sleep(Duration::from_millis(pause));
        daemon.signal(Signal::TERM);
        match daemon.wait() {
            0 => site.check(),
            // The signal killed it before it could promise anything.
            status => assert_eq!(status, 143, "{}", daemon.log()),
        }
        site.replicate().stop();
        site.check();
    }
}

#[test]
fn an_interrupt_from_the_keyboard_ends_it_in_order() {
    let site = Site::new();
    site.write(1, 10);
    let mut daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait(), 0, "{}", daemon.log());
    site.check();
}

#[test]
fn a_signal_during_the_first_snapshot_waits_for_it() {
    let site = Site::new();
    let connection = open(&site.database());
    let fill = "CREATE TABLE t (x); WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1
                FROM n WHERE i < 40000) INSERT INTO t SELECT randomblob(1000) FROM n";
    connection.execute_batch(fill).unwrap();
    let mut daemon = site.replicate();
    daemon.wait_for("write snapshot");
    daemon.stop();
    drop(connection);
    site.check();
}

/// Compose stops all containers at the same moment: what the application writes last must be in
/// the replica, too.
#[test]
fn an_application_may_outlive_the_daemon_by_seconds() {
    let site = Site::new();
    let connection = open(&site.database());
    connection.execute_batch("CREATE TABLE t (x)").unwrap();
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    daemon.signal(Signal::TERM);
    for row in 0..40 {
        connection.execute("INSERT INTO t VALUES (?)", [row]).unwrap();
        thread::sleep(Duration::from_millis(25));
    }
    drop(connection);
    let log = daemon.finish();
    let count: i64 =
        open(&site.database()).query_one("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!((rows(&site), count), (40, 40), "{log}");
}

/// If the second signal were only passed on too, nothing but SIGKILL would end them.
#[test]
fn a_second_signal_ends_it_whatever_the_application_does() {
    let site = Site::new();
    let deaf = "sh -c 'trap : TERM; echo at work; for i in 1 2 3 4 5 6 7 8; do sleep 1; done'";
    let mut daemon = site.start(&mut site.command(&["replicate", "-exec", deaf]));
    daemon.wait_for("at work");
    daemon.signal(Signal::TERM);
    daemon.wait_for("passed on to the application");
    daemon.signal_again();
    assert_eq!(daemon.wait_within(Duration::from_secs(4)), Some(130), "{}", daemon.log());
    assert!(daemon.says("the application is still running"), "{}", daemon.log());
}

/// A terminal and systemd signal both processes at once. If the application ends before the daemon
/// sees the signal, it must not count as a second one, or the last commits are not sent.
#[test]
fn a_signal_that_ends_the_application_as_well_is_the_first_one() {
    for _ in 0..8 {
        let site = Site::new();
        let mut daemon = start(&site, Role::LateRow { status: 3 });
        daemon.wait_for("at work");
        daemon.pause();
        let children = format!("/proc/{0}/task/{0}/children", daemon.id());
        let child: i32 = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(child).unwrap(), Signal::TERM).unwrap();
        daemon.signal(Signal::TERM);
        let has_ended = || {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
            stat.contains(") Z ")
        };
        eventually("the end of the application", has_ended);
        daemon.signal(Signal::CONT);
        assert_eq!(daemon.wait(), 3, "{}", daemon.log());
        assert_eq!(rows(&site), 2);
    }
}
