//! All databases of a directory, including those that come and go.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use litestream::failpoint::{Failpoint, SCRIPT};
use rustix::process::Signal;

use crate::support::{
    Helper, Process, Role, Site, as_nobody, assert_same, eventually, open, set_mode, settle,
};

/// A site that replicates a directory to another one.
pub(super) fn tenants(settings: &str) -> (Site, PathBuf) {
    let site = Site::new();
    let directory = site.path("tenants");
    fs::create_dir(&directory).unwrap();
    let text = format!(
        "dbs: [{{dir: {}, pattern: '*.db', monitor-interval: 50ms, {settings}, \
         replicas: [{{path: {}, sync-interval: 50ms}}]}}]\n",
        directory.display(),
        site.replica().display()
    );
    fs::write(site.config(), text).unwrap();
    (site, directory)
}

pub(super) fn make(database: &Path, rows: u32) {
    let connection = open(database);
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (i)").unwrap();
    for row in 0..rows {
        connection.execute("INSERT INTO t VALUES (?)", [row]).unwrap();
    }
}

pub(super) fn start(site: &Site) -> Process {
    site.start(&mut site.command(&["replicate"]))
}

/// A site that replicates the first of two databases of a directory. There is no second one yet.
pub(super) fn first_of(names: [&str; 2]) -> (Site, [PathBuf; 2], Process) {
    let (site, directory) = tenants("watch: true");
    let databases = names.map(|name| directory.join(name));
    make(&databases[0], 10);
    let mut daemon = start(&site);
    daemon.wait_for("snapshot written");
    (site, databases, daemon)
}

/// Restores a database by its path, and compares it with what it should be.
pub(super) fn check(site: &Site, database: &Path, expected: &Path) {
    let output = site.fresh("restored");
    let [to, from] = [&output, database].map(|path: &Path| path.to_str().unwrap());
    site.start(&mut site.command(&["restore", "-o", to, from])).finish();
    assert_same(expected, &output);
}

#[test]
fn each_database_is_replicated_to_a_place_of_its_own() {
    let (site, directory) = tenants("recursive: true");
    fs::create_dir(directory.join("below")).unwrap();
    let databases = ["a.db", "b.db", "below/a.db"].map(|name| directory.join(name));
    for (rows, database) in (10..).zip(&databases) {
        make(database, rows);
    }
    for name in ["notes.db", "encrypted.db"] {
        fs::write(directory.join(name), "no database").unwrap();
    }
    fs::hard_link(&databases[0], directory.join("z.db")).unwrap();
    let mut daemon = start(&site);
    daemon.wait_for("snapshot written");
    for text in
        ["encrypted.db, ", "notes.db\" others=0", "are not SQLite databases", "z.db others=0"]
    {
        assert!(daemon.says(text), "{text}: {}", daemon.log());
    }
    for database in &databases {
        make(database, 5);
    }
    daemon.stop();
    for (database, name) in databases.iter().zip(["a.db", "b.db", "below/a.db"]) {
        settle(database);
        check(&site, database, database);
        assert!(site.replica().join(name).join("generations").is_dir());
    }
    let listed = site.start(&mut site.command(&["databases", "-json"])).finish();
    assert_eq!(listed.matches(".db").count(), 3, "{listed}");
    site.start(&mut site.command(&["verify"])).finish();
}

#[test]
fn databases_that_come_and_go_are_noticed() {
    let (site, [first, second], mut daemon) = first_of(["first.db", "second.db"]);
    make(&second, 10);
    eventually("the second one is there", || site.replica().join("second.db").is_dir());
    settle(&first);
    let kept = site.fresh("kept");
    fs::copy(&first, &kept).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", first.display()));
    }
    daemon.wait_for("the database is gone");
    // Another database comes under its old name.
    make(&first, 3);
    daemon.wait_for("DIVERGED");
    daemon.stop();
    check(&site, &first, &kept);
    settle(&second);
    check(&site, &second, &second);
}

/// This is an error in the configuration, and nobody would notice a daemon that waits for ever.
#[test]
fn a_directory_without_databases_is_refused_unless_it_is_watched() {
    let (site, directory) = tenants("recursive: false");
    let mut daemon = start(&site);
    assert_eq!(daemon.wait(), 1);
    assert!(daemon.says("no databases found"), "{}", daemon.log());
    fs::remove_dir(&directory).unwrap();
    let mut daemon = start(&site);
    assert_eq!(daemon.wait(), 1);
    assert!(daemon.says("is no directory"), "{}", daemon.log());

    let (site, directory) = tenants("watch: true");
    fs::remove_dir(&directory).unwrap();
    let mut daemon = start(&site);
    daemon.wait_for("litestream");
    fs::create_dir(&directory).unwrap();
    make(&directory.join("late.db"), 10);
    eventually("it is there", || site.replica().join("late.db").is_dir());
    daemon.stop();
    check(&site, &directory.join("late.db"), &directory.join("late.db"));
}

/// Makes a database that anybody may write.
fn make_for_all(database: &Path) {
    make(database, 10);
    settle(database);
    set_mode(database, 0o666);
}

fn set_modes(paths: &[&Path], mode: u32) {
    for path in paths {
        set_mode(path, mode);
    }
}

const UNREADABLE: &str = "cannot be read: databases that are there are not replicated";

/// What is in it is on no replica, which must be reported.
#[test]
fn what_may_not_be_read_is_named_and_the_rest_is_replicated() {
    let (site, directory) = tenants("recursive: true, watch: true");
    let [below, file] = ["below", "closed.db"].map(|name| directory.join(name));
    let [first, hidden] = [directory.join("first.db"), below.join("hidden.db")];
    fs::create_dir(&below).unwrap();
    for database in [&first, &hidden, &file] {
        make_for_all(database);
    }
    set_modes(&[site.home(), &directory], 0o777);
    set_modes(&[&below, &file], 0o000);
    site.serve();
    let mut daemon = site.start(&mut as_nobody(&site));
    daemon.wait_for("snapshot written");
    eventually("the health shows it", || {
        let (status, health) = daemon.ask("/health");
        let is_failing = |path: &Path| {
            let line = format!("{{\"db\":\"{}\",\"health\":\"failing\",", path.display());
            health.contains(&line)
        };
        status == 503 && is_failing(&below) && is_failing(&file)
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "two are on no replica: {}", daemon.log());
    let log = daemon.log();
    for path in [&below, &file] {
        let path = path.display();
        assert!(log.contains(&format!("{path} is not replicated: Permission denied")), "{log}");
        let said = log.lines().filter(|line| line.contains(UNREADABLE));
        let said = said.filter(|line| line.contains(&format!("path={path}")));
        assert_eq!(said.count(), 1, "{log}");
    }

    let mut daemon = site.start(&mut as_nobody(&site));
    daemon.wait_for(UNREADABLE);
    set_modes(&[&below, &file], 0o777);
    eventually("all are there", || {
        ["below/hidden.db", "closed.db"].iter().all(|name| site.replica().join(name).is_dir())
    });
    daemon.stop();
    for database in [&first, &hidden, &file] {
        check(&site, database, database);
    }
}

/// While one directory cannot be read, new databases in the others must still be followed.
#[test]
fn a_whole_directory_that_may_not_be_read_holds_up_no_other() {
    let (site, directory) = tenants("watch: true");
    let other = site.path("other");
    fs::create_dir(&other).unwrap();
    let text = fs::read_to_string(site.config()).unwrap();
    let list = text.trim_end().strip_prefix("dbs: [").unwrap().strip_suffix(']').unwrap();
    let second = list
        .replace(directory.to_str().unwrap(), other.to_str().unwrap())
        .replace(site.replica().to_str().unwrap(), site.path("second").to_str().unwrap());
    // What is in the unreadable directory cannot be captured to its end at a stop.
    let text = format!("dbs: [{list}, {second}]\nshutdown-timeout: 1s\n");
    fs::write(site.config(), text).unwrap();
    let [first, second] = [directory.join("first.db"), other.join("second.db")];
    make_for_all(&first);
    set_modes(&[site.home(), &directory, &other], 0o777);

    let mut daemon = site.start(&mut as_nobody(&site));
    daemon.wait_for("snapshot written");
    set_mode(&directory, 0o000);
    make_for_all(&second);
    daemon.wait_for(UNREADABLE);
    eventually("the other one is there", || site.path("second/second.db").is_dir());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
    let named = format!("{} is not replicated: Permission denied", directory.display());
    assert!(daemon.says(&named), "{}", daemon.log());
    assert!(!daemon.says("the database is gone"), "{}", daemon.log());
    check(&site, &second, &second);

    // At the start, this is an error in the configuration.
    let mut daemon = site.start(&mut as_nobody(&site));
    assert_eq!(daemon.wait(), 1, "{}", daemon.log());
    let named = format!("directory {}: Permission denied", directory.display());
    assert!(daemon.says(&named), "{}", daemon.log());
    set_mode(&directory, 0o777);
    check(&site, &first, &first);
}

/// If two databases would share a replica, the first one is replicated, and the other one
/// reported.
#[test]
fn a_database_whose_place_is_taken_is_refused() {
    let (site, directory) = tenants("watch: true");
    let text = fs::read_to_string(site.config()).unwrap();
    make(&site.path("other.db"), 5);
    let other = format!(
        "{{path: {}, replicas: [{{path: {}}}]}}, {{dir:",
        site.path("other.db").display(),
        site.replica().join("a.db").display()
    );
    fs::write(site.config(), text.replace("{dir:", &other)).unwrap();
    let mut daemon = start(&site);
    daemon.wait_for("snapshot written");
    make(&directory.join("a.db"), 5);
    daemon.wait_for("cannot follow a database");
    make(&directory.join("b.db"), 5);
    eventually("the next one is there", || site.replica().join("b.db").is_dir());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "one is on no replica: {}", daemon.log());
    assert!(daemon.says("tenants/a.db is not replicated: "), "{}", daemon.log());
    settle(&site.path("other.db"));
    check(&site, &site.path("other.db"), &site.path("other.db"));
}

/// The application may end before the daemon looks into the directory again, and its database must
/// still be replicated.
#[test]
fn what_a_short_lived_application_makes_in_a_directory_is_replicated() {
    let (site, directory) = tenants("watch: true");
    let line = Helper::words().join(" ");
    let database = directory.join("new.db");
    let mut command = site.command(&["replicate", "-exec", &line]);
    command.envs(Helper::environment(Role::Rows { rows: 20, status: 3 }, &database));
    let mut daemon = site.start(&mut command);
    assert_eq!(daemon.wait(), 3, "{}", daemon.log());
    settle(&database);
    check(&site, &database, &database);
}

/// A database whose header is damaged, or that was encrypted, must not be taken for a file that
/// never was a database: that something was replicated before must be reported.
#[test]
fn what_was_replicated_and_is_no_database_any_more_is_failing() {
    let (site, directory) = tenants("watch: true");
    let [good, damaged] = ["good.db", "damaged.db"].map(|name| directory.join(name));
    for path in [&good, &damaged] {
        make(path, 1);
    }
    let replicate = || site.start(&mut site.command(&["replicate"]));
    let daemon = replicate();
    eventually("both", || daemon.log().matches("snapshot written").count() == 2);
    daemon.stop();
    let file = File::options().write(true).open(&damaged).unwrap();
    file.write_all_at(&[0; 16], 0).unwrap();
    site.serve();
    let mut daemon = replicate();
    daemon.wait_for("serving metrics on");
    let failing = format!("{{\"db\":\"{}\",\"health\":\"failing\",", damaged.display());
    eventually("the health shows it", || {
        let (status, health) = daemon.ask("/health");
        status == 503 && health.contains(&failing)
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), 75, "{}", daemon.log());
}

/// A mistyped name must not be waited for silently, with an empty health, which means good.
#[test]
fn a_watched_directory_that_does_not_exist_is_warned_of() {
    let (site, directory) = tenants("watch: true");
    fs::remove_dir(&directory).unwrap();
    site.serve();
    let mut daemon = start(&site);
    daemon.wait_for("waiting for a directory that does not exist");
    let late = format!("{{\"db\":\"{}\",\"health\":\"late\"", directory.display());
    eventually("the health shows it", || daemon.ask("/health").1.contains(&late));
    fs::create_dir(&directory).unwrap();
    make(&directory.join("new.db"), 1);
    daemon.wait_for("snapshot written");
    eventually("the health is good", || {
        let (status, health) = daemon.ask("/health");
        status == 200 && health.contains("new.db") && !health.contains("late")
    });
    daemon.stop();
}

/// Otherwise the daemon would start, and end with the advice to make a database readable: SQLite
/// does not say why it cannot open a file.
#[test]
fn too_few_open_files_are_named_before_anything_begins() {
    let (site, directory) = tenants("watch: true");
    for number in 0..10 {
        make(&directory.join(format!("{number}.db")), 1);
    }
    let limited = "ulimit -n 60; exec \"$0\" replicate";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_litestream")]);
    let mut daemon = site.start(command.env("LITESTREAM_CONFIG", site.config()));
    assert_eq!(daemon.wait(), 1, "{}", daemon.log());
    let expected = "error: 10 databases need 340 open files, and 60 are allowed: raise the limit";
    assert!(daemon.says(expected), "{}", daemon.log());
    assert!(!site.replica().exists(), "nothing has begun");
}

/// If all began at once, each with the files that it needs to begin, none could finish.
#[test]
fn many_databases_begin_with_files_enough_for_their_rest() {
    let (site, directory) = tenants("watch: true");
    make(&directory.join("0.db"), 1);
    let count = 130;
    for number in 1..count {
        fs::copy(directory.join("0.db"), directory.join(format!("{number}.db"))).unwrap();
    }
    site.arm(&format!("{} = slow 300ms", Failpoint::ObjectWriting.name()));
    // 14 for each that begins, 11 for each at rest.
    let limited = format!("ulimit -n {}; exec \"$0\" replicate", count * 11 + 250);
    let mut command = Command::new("sh");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_litestream")]);
    let daemon = site.start(
        command.env("LITESTREAM_CONFIG", site.config()).env(SCRIPT, site.path("failpoints")),
    );
    eventually("all snapshots", || daemon.log().matches("snapshot written").count() == count);
    assert!(!daemon.says("level=ERROR"), "{}", daemon.log());
    daemon.stop();
}

/// A database must not hold up those that begin after it until it has something to do.
#[test]
fn databases_whose_store_hangs_do_not_keep_others_from_beginning() {
    let (site, directory) = tenants("watch: true");
    make(&directory.join("0.db"), 1);
    for number in 1..66 {
        fs::copy(directory.join("0.db"), directory.join(format!("{number}.db"))).unwrap();
    }
    site.arm(&format!("{} = slow 60s @ 1..64", Failpoint::ObjectWriting.name()));
    let mut command = site.command(&["replicate"]);
    let mut daemon = site.start(&mut command);
    let began = Instant::now();
    daemon.wait_for("snapshot written");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    daemon.kill();
}
