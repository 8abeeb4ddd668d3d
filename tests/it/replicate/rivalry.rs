//! How soon two daemons that write to one replica part.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Background, Process, Site, check_all, copy_of, eventually, open};

/// The promised limit, even when other tests run meanwhile.
const SECONDS: Duration = Duration::from_secs(10);

fn with_intervals(site: &Site, owner: &Site) {
    let replica = format!("path: {}, sync-interval: 1s", owner.replica().display());
    site.configure("monitor-interval: 1s", &[&replica]);
}

/// From its first write that the other one does not have, the daemon that comes second writes
/// where its commits are not lost, and reports it.
#[test]
fn of_two_that_write_all_the_time_one_is_elsewhere_within_seconds() {
    let one = Site::new();
    with_intervals(&one, &one);
    one.write(1, 50);
    one.replicate().stop();
    let other = copy_of(&one);
    with_intervals(&other, &one);
    let sites = [&one, &other];
    let daemons = sites.map(|site| {
        let mut daemon = site.replicate();
        daemon.wait_for("initialized db");
        daemon
    });
    let began = Instant::now();
    let writers = sites.map(|site| {
        let connection = open(&site.database());
        Background::start(move |_| {
            connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
            thread::sleep(Duration::from_millis(50));
        })
    });
    eventually("one has a fork", || {
        one.forks().len() == 1 && daemons.iter().any(|daemon| daemon.says("DIVERGED"))
    });
    let elapsed = began.elapsed();
    for writer in writers {
        writer.finish();
    }
    let logs = daemons.map(Process::stop);
    let diverged = logs.iter().filter(|log| log.contains("DIVERGED")).count();
    assert_eq!(diverged, 1, "{logs:?}");
    assert!(elapsed < SECONDS, "{elapsed:?} {logs:?}");
    check_all(&one, &sites);
}
