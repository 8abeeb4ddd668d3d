//! Other daemons in a replica, whose segments we may not read.

use hyper::body::Bytes;

use super::Remote;
use crate::rogue::{Fault, Kind, Refusal, Rule};
use crate::support::{open, settle};

fn unreadable() -> Rule {
    Rule::from(Fault::Refuse(Refusal::DENIED)).on(&[Kind::Get]).about("/wal/")
}

/// The name that another daemon uses next if its log was restarted.
fn rival(remote: &Remote) -> String {
    let last = remote.keys("/wal/").into_iter().max().unwrap();
    let (directory, name) = last.rsplit_once('/').unwrap();
    let index = u32::from_str_radix(&name[..8], 16).unwrap();
    format!("{directory}/{:08x}_00000000.wal.lz4", index + 1)
}

#[test]
fn a_store_that_lets_no_segment_be_read_is_written_to() {
    let remote = Remote::new();
    let daemon = remote.replicate();
    remote.survives_later(&daemon, |store| store.misbehave(unreadable()), |signs| signs.struck > 0);
    remote.finish(daemon);
}

/// If the daemon cannot read whose the other segment is, its own must still count as stored or as
/// a rival: otherwise it would retry for ever, and nothing after the two segments could be
/// restored.
#[test]
fn another_daemon_whose_segment_may_not_be_read_is_met_all_the_same() {
    let remote = Remote::new();
    let mut daemon = remote.replicate();
    remote.at_work(&daemon);
    remote.store.misbehave(unreadable());
    remote.store.store(&rival(&remote), Bytes::from_static(b"another one's"));
    let connection = open(&remote.site.database());
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    daemon.wait_for("DIVERGED");
    assert!(daemon.says("another daemon goes on with it"), "{}", daemon.log());
    connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
    drop(connection);
    daemon.stop();

    remote.store.behave();
    let forks = remote.keys("/forks/");
    let fork = forks[0].split('/').nth(2).unwrap();
    settle(&remote.site.database());
    remote.site.check_restore(&["-fork", fork], &remote.site.database());
}
