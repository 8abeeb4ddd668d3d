//! What cannot be replicated or restored is reported in one line that says what, where and what to
//! do.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::seaweed;
use crate::support::{Helper, Role, Site, as_nobody, eventually, set_mode, settle};

/// Expects that a command fails with one line on standard error that contains all of `texts`.
fn check(site: &Site, command: &mut Command, texts: &[&str]) {
    let mut process = site.start(command);
    let status = process.wait();
    let log = process.log();
    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("time=")).collect();
    assert_eq!((status, lines.len()), (1, 1), "{log}");
    for text in texts {
        assert!(lines[0].contains(text), "{text:?} is not in {}", lines[0]);
    }
    assert!(lines[0].starts_with("error: "), "{}", lines[0]);
    // The fatal error is reported only once.
    assert!(!log.contains("level=ERROR"), "{log}");
}

fn check_replicate(site: &Site, texts: &[&str]) {
    check(site, &mut site.command(&["replicate"]), texts);
    assert_eq!(site.listing().generations, [], "nothing is written");
}

fn check_restore(site: &Site, arguments: &[&str], texts: &[&str]) {
    let output = site.fresh("restored");
    let to = ["restore", "-o", output.to_str().unwrap()];
    check(site, &mut site.command(&[&to, arguments].concat()), texts);
    assert!(!output.exists());
}

/// The one line that matters must be JSON, too.
#[test]
fn who_logs_json_gets_the_last_error_in_it() {
    let site = Site::new();
    site.configure_also("logging: {type: json, stderr: true}");
    fs::create_dir(site.database()).unwrap();
    let mut process = site.start(&mut site.command(&["replicate"]));
    assert_eq!(process.wait(), 1);
    let log = process.log();
    let lines = log.lines().map(serde_json::from_str);
    let lines: Vec<serde_json::Value> = lines.map(|line| line.expect(&log)).collect();
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["msg"].as_str().unwrap().contains("it is a directory"), "{log}");
}

#[test]
fn a_second_daemon_is_refused() {
    let site = Site::new();
    site.write(1, 5);
    let daemon = site.replicate();
    let lock = site.state().join("lock");
    check(
        &site,
        &mut site.command(&["replicate"]),
        &[
            "app.db is already being replicated by another litestream process",
            lock.to_str().unwrap(),
        ],
    );
    site.write(2, 5);
    daemon.stop();
    site.check();
    assert_eq!(site.listing().snapshots(), 1);
}

/// Even a file of one byte must not be overwritten: SQLite takes it for an empty database.
#[test]
fn what_is_no_database_is_left_as_it_is() {
    for content in ["not a database, and longer than any header of one".repeat(100), "x".into()] {
        let site = Site::new();
        fs::write(site.database(), &content).unwrap();
        check_replicate(&site, &["app.db", "not a SQLite database"]);
        assert_eq!(fs::read_to_string(site.database()).unwrap(), content);
    }
}

#[test]
fn a_directory_is_no_database() {
    let site = Site::new();
    fs::create_dir(site.database()).unwrap();
    check_replicate(&site, &["app.db", "it is a directory"]);
}

/// If the daemon made a log and an index beside a database that it can only read, the application
/// could not write to it either.
#[test]
fn a_database_that_may_not_be_read_or_written_is_refused() {
    for (file_mode, directory_mode, texts) in [
        (0o000, 0o777, ["app.db", "must be able to read and write"]),
        (0o444, 0o777, ["app.db", "must be able to read and write"]),
        (0o666, 0o555, ["make the state directory", "ermission denied"]),
    ] {
        let site = Site::new();
        site.write(1, 5);
        settle(&site.database());
        let mut command = as_nobody(&site);
        set_mode(&site.database(), file_mode);
        set_mode(site.home(), directory_mode);
        check(&site, &mut command, &texts);
        set_mode(site.home(), 0o777);
    }
}

/// The replica can be listed, so it seems usable, but a generation must not begin every few
/// seconds.
#[test]
fn a_replica_that_may_be_read_and_not_written_is_refused() {
    let site = Site::new();
    site.write(1, 5);
    settle(&site.database());
    let mut command = as_nobody(&site);
    fs::create_dir(site.replica()).unwrap();
    set_mode(site.home(), 0o777);
    set_mode(&site.replica(), 0o555);
    set_mode(&site.database(), 0o666);
    check(
        &site,
        &mut command,
        &["replica file of ", "ermission denied", "give this user the right"],
    );
    set_mode(&site.replica(), 0o777);
}

#[test]
fn a_read_only_directory_is_refused_even_with_its_state_elsewhere() {
    let site = Site::new();
    let state = site.path("state");
    let replica = format!("path: {}", site.replica().display());
    site.configure(&format!("meta-path: {}", state.display()), &[&replica]);
    site.write(1, 5);
    settle(&site.database());
    fs::create_dir(&state).unwrap();
    set_mode(&state, 0o777);
    let mut command = as_nobody(&site);
    set_mode(&site.database(), 0o444);
    set_mode(site.home(), 0o555);
    check(&site, &mut command, &["app.db", "must be able to read and write"]);
    set_mode(site.home(), 0o777);
}

#[test]
fn a_database_in_exclusive_locking_mode_is_refused_after_a_while() {
    let site = Site::new();
    site.write(1, 5);
    let recluse = Helper::start(Role::Recluse, &site.database());
    check_replicate(&site, &["app.db", "locked by another process", "exclusive locking mode"]);
    recluse.finish();
    site.replicate().stop();
    site.check();
}

#[test]
fn a_bucket_that_is_not_there_and_wrong_keys_are_refused() {
    let bucket = seaweed::bucket();
    let site = Site::new();
    site.write(1, 5);
    let good = [&bucket.name, &bucket.access_key_id, &bucket.secret_access_key].map(String::as_str);
    let wrong = [
        (["no-such-bucket", good[1], good[2]], "no-such-bucket"),
        ([good[0], "nobody", good[2]], good[0]),
        ([good[0], good[1], "wrong"], good[0]),
    ];
    for ([name, id, secret], text) in wrong {
        let replica = format!(
            "type: s3, endpoint: '{}', bucket: {name}, path: db, region: us-east-1, \
             access-key-id: {id}, secret-access-key: {secret}",
            bucket.endpoint
        );
        site.configure("monitor-interval: 50ms", &[&replica]);
        check_replicate(&site, &["replica s3 of ", text]);
        let from = site.database();
        check_restore(&site, &[from.to_str().unwrap()], &[text]);
    }
}

/// A deleted bucket must not end the backups of all other databases at the next start.
#[test]
fn a_database_that_is_refused_does_not_keep_others_from_being_replicated() {
    let bucket = seaweed::bucket();
    let site = Site::new();
    site.write(1, 5);
    let other = site.path("other.db");
    fs::copy(site.database(), &other).unwrap();
    let text = format!(
        "dbs: [{{path: {}, replicas: [{{type: s3, endpoint: '{}', bucket: no-such-bucket, path: db, \
         region: us-east-1}}]}}, {{path: {}, replicas: [{{path: {}}}]}}]\n",
        other.display(),
        bucket.endpoint,
        site.database().display(),
        site.replica().display(),
    );
    fs::write(site.config(), text).unwrap();
    site.configure_also("addr: 127.0.0.1:0");
    site.configure_also("shutdown-timeout: 2s");
    let mut daemon = site.start(&mut site.command(&["replicate"]));
    daemon.wait_for("snapshot written");
    daemon.wait_for("no-such-bucket");
    eventually("the health shows it", || {
        let health = daemon.ask("/health").1;
        health.contains("its store refuses what is asked of it") && health.contains("good")
    });
    site.write(2, 5);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    assert!(daemon.says("other.db"), "{}", daemon.log());
    site.check();
}

#[test]
fn an_output_that_exists_and_an_empty_replica_are_refused() {
    let site = Site::new();
    site.write(1, 5);
    site.replicate().stop();
    settle(&site.database());
    let before = fs::read(site.database()).unwrap();
    let path = site.database();
    check(
        &site,
        &mut site.command(&["restore", path.to_str().unwrap()]),
        &["cannot restore, output path already exists: ", "app.db"],
    );
    assert!(fs::read(&path).unwrap() == before);

    fs::remove_dir_all(site.replica()).unwrap();
    let from = [path.to_str().unwrap()];
    check_restore(&site, &from, &["no matching backups found"]);
    fs::create_dir(site.replica()).unwrap();
    check_restore(&site, &from, &["no matching backups found"]);
    let output = site.fresh("restored");
    let arguments =
        ["restore", "-if-replica-exists", "-o", output.to_str().unwrap(), path.to_str().unwrap()];
    site.start(&mut site.command(&arguments)).finish();
    assert!(!output.exists());
    // The next start makes a replica again.
    site.replicate().stop();
    site.check();
}

#[test]
fn a_replica_that_is_a_file_is_refused() {
    let site = Site::new();
    site.write(1, 5);
    fs::write(site.replica(), "mine").unwrap();
    check_replicate(&site, &["replica file of ", "app.db", "Not a directory"]);
    assert_eq!(fs::read_to_string(site.replica()).unwrap(), "mine");
}

/// It must not be taken for an empty replica, or a start script goes on with a new database.
#[test]
fn a_backup_of_litestream_0_5_is_not_taken_for_none() {
    let site = Site::new();
    let level = site.replica().join("ltx/0");
    fs::create_dir_all(&level).unwrap();
    fs::write(level.join("0000000000000001-0000000000000001.ltx"), "of another format").unwrap();
    let url = format!("file://{}", site.replica().display());
    for arguments in [&[url.as_str()][..], &["-if-replica-exists", &url]] {
        check_restore(&site, arguments, &["Litestream 0.5", "cannot be read here"]);
    }
    site.write(1, 5);
    let mut daemon = site.replicate();
    daemon.wait_for("this replica holds a backup of Litestream 0.5");
    daemon.stop();
    site.check();
}
