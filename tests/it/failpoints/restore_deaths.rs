use std::fs;
use std::path::Path;

use litestream::failpoint::Failpoint;

use super::{KILLED, for_each, is_of_restore};
use crate::support::{Ledger, Process, Site, assert_same, eventually, open, settle};

/// A place that a restore passes as well.
const READING: Failpoint = Failpoint::ObjectReading;

/// A replicated database with `moves` moves, which nobody uses.
fn replicated(moves: u32) -> Site {
    let site = Site::new();
    let ledger = Ledger::open(&site.database());
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() == 1);
    for _ in 0..moves {
        ledger.step();
    }
    drop(ledger);
    daemon.stop();
    settle(&site.database());
    site
}

fn start(site: &Site, output: &Path, arguments: &[&str]) -> Process {
    let [to, from] = [output, &site.database()].map(|path| path.to_str().unwrap().to_owned());
    let arguments = [&["restore", "-o", &to], arguments, &[&from]].concat();
    site.start(&mut site.command(&arguments))
}

/// Expects that a restore leaves nothing but its output.
fn expect_nothing_else(output: &Path) {
    let name = output.file_name().unwrap().to_str().unwrap();
    for entry in fs::read_dir(output.parent().unwrap()).unwrap() {
        let found = entry.unwrap().file_name().into_string().unwrap();
        assert!(!found.starts_with(&format!(".{name}")), "{found} is left");
    }
}

#[test]
fn a_restore_that_dies_at_any_step_leaves_the_whole_database_or_none() {
    let failpoints = Failpoint::ALL.iter().copied().filter(|failpoint| {
        // There is no old database to be claimed.
        (is_of_restore(*failpoint) && *failpoint != Failpoint::OutputClaimed)
            || *failpoint == READING
    });
    for_each(failpoints, |failpoint| {
        let site = replicated(30);
        for time in if is_passed_twice(failpoint) { 1..=2 } else { 1..=1 } {
            let output = site.fresh("restored");
            site.arm(&format!("{} = kill @ {time}", failpoint.name()));
            let mut restore = start(&site, &output, &[]);
            assert_eq!(restore.wait(), KILLED, "{failpoint:?} @ {time}\n{}", restore.log());
            site.disarm();
            if !output.exists() {
                assert_ne!(failpoint, Failpoint::OutputRenamed);
                start(&site, &output, &[]).finish();
            }
            assert_same(&site.database(), &output);
            expect_nothing_else(&output);
        }
    });
}

fn is_passed_twice(failpoint: Failpoint) -> bool {
    matches!(failpoint, Failpoint::OutputWriting | READING)
}

/// A database with commits that are only in its log, because its application was killed.
fn make_old_database(path: &Path) -> i64 {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("old.db");
    let ledger = Ledger::open(&source);
    for _ in 0..7 {
        ledger.step();
    }
    // Copied while its application still has it open, so that there is a log.
    for suffix in ["", "-wal"] {
        let [from, to] = [&source, path].map(|path| format!("{}{suffix}", path.display()));
        fs::copy(from, to).unwrap();
    }
    7
}

#[test]
fn a_forced_restore_that_dies_at_any_step_leaves_the_old_or_the_new_database() {
    let failpoints = Failpoint::ALL.iter().filter(|failpoint| is_of_restore(**failpoint));
    for_each(failpoints, |&failpoint| {
        let site = replicated(30);
        let output = site.fresh("restored");
        let old = make_old_database(&output);
        site.arm(&format!("{} = kill", failpoint.name()));
        let mut restore = start(&site, &output, &["-force"]);
        assert_eq!(restore.wait(), KILLED, "{failpoint:?}\n{}", restore.log());
        site.disarm();

        let expected = if failpoint == Failpoint::OutputRenamed { 30 } else { old };
        assert_eq!(Ledger::audit(&output), expected, "{failpoint:?}");
        start(&site, &output, &["-force"]).finish();
        assert_same(&site.database(), &output);
        expect_nothing_else(&output);
        open(&output).close().unwrap();
        assert_eq!(Ledger::audit(&output), 30);
    });
}

#[test]
fn a_restore_that_cannot_write_says_so_and_leaves_nothing() {
    let site = replicated(30);
    for failpoint in Failpoint::ALL.iter().filter(|failpoint| is_of_restore(**failpoint)) {
        for (error, text) in [
            ("enospc", "o space left on"),
            ("eio", "Input/output error"),
            ("erofs", "Read-only file system"),
        ] {
            let forced = *failpoint == Failpoint::OutputClaimed;
            let output = site.fresh("restored");
            let old = if forced { make_old_database(&output) } else { 0 };
            site.arm(&format!("{} = {error}", failpoint.name()));
            let mut restore = start(&site, &output, if forced { &["-force"] } else { &[] });
            let status = restore.wait();
            site.disarm();
            assert!(restore.says(text), "{failpoint:?} = {error}\n{}", restore.log());
            expect_nothing_else(&output);
            if *failpoint == Failpoint::OutputRenamed {
                // The database is in place, and only its name may not be durable yet.
                assert_eq!(status, 0, "{}", restore.log());
                assert_same(&site.database(), &output);
                continue;
            }
            assert_eq!(status, 1, "{failpoint:?} = {error}\n{}", restore.log());
            assert_eq!(output.exists(), forced);
            if forced {
                assert_eq!(Ledger::audit(&output), old);
            }
        }
    }
}
