//! Replicas that the daemon has written, damaged in every way: `verify` must find the damage, and
//! nothing where nothing is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use litestream::format::{Generation, Proof, ProofRecord, Seal};
use rusqlite::Connection;

use crate::cli::litestream;
use crate::support::{Background, Site, Workload, eventually, open};

/// The objects of a replica by their keys.
type Objects = BTreeMap<String, Vec<u8>>;

/// A replica of one generation with two WALs of three segments, each with a snapshot.
///
/// The daemon makes it once for all tests, which damage copies of it.
fn objects() -> &'static Objects {
    static OBJECTS: OnceLock<Objects> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        let site =
            Site::with("monitor-interval: 20ms", "sync-interval: 20ms, snapshot-interval: 4s");
        let connection = open(&site.database());
        connection.execute_batch(Workload::SCHEMA).unwrap();
        let daemon = site.replicate();
        for snapshots in 1..=2 {
            eventually("a snapshot", || site.listing().snapshots() >= snapshots);
            for row in 0..3 {
                let before = site.listing().segments();
                let content = "x".repeat(500 + row);
                connection.execute("INSERT INTO t (content) VALUES (?)", [content]).unwrap();
                eventually("a segment", || site.listing().segments() > before);
            }
        }
        drop(connection);
        daemon.stop();
        let objects = read(&site.replica());
        assert!(objects.len() < 12, "{:?}", objects.keys());
        objects
    })
}

fn read(root: &Path) -> Objects {
    let mut objects = Objects::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            objects.insert(key, fs::read(path).unwrap());
        }
    }
    objects
}

fn write(root: &Path, objects: &Objects) {
    for (key, content) in objects {
        let path = root.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

struct Verdict {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Verdict {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
        Self { status: status.code().unwrap(), stdout, stderr }
    }

    fn verify(replica: &Path, arguments: &[&str]) -> Self {
        let home = replica.parent().unwrap();
        let url = format!("file://{}", replica.display());
        // Put temporary files where the test can see whether they are removed.
        let mut command = litestream(home);
        Self::of(command.env("TMPDIR", home).arg("verify").args(arguments).arg(url))
    }

    fn assert_good(&self, what: &str) {
        assert_eq!(self.status, 0, "{what}\n{}{}", self.stdout, self.stderr);
    }

    /// Expects a line that begins with the key of an object and contains `problem`.
    fn assert_finds(&self, key: &str, problem: &str, what: &str) {
        let line = format!("file: {key}: ");
        let found =
            self.stdout.lines().any(|text| text.starts_with(&line) && text.contains(problem));
        assert!(found, "{what}: {line}{problem}\n{}{}", self.stdout, self.stderr);
        assert_eq!(self.status, 1, "{what}");
        assert!(self.stderr.contains("defect"), "{what}: {}", self.stderr);
    }
}

/// A replica that is damaged, and the expected defect.
struct Case {
    what: String,
    objects: Objects,
    key: String,
    problem: &'static str,
    /// Whether the defect shows in names and seals.
    quick: bool,
}

/// Verifies all cases, a few at a time: a defect is only reported after repeated looks.
fn check(cases: Vec<Case>) {
    assert!(!cases.is_empty());
    let cases = Arc::new(Mutex::new(cases));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let cases = Arc::clone(&cases);
            thread::spawn(move || {
                loop {
                    let Some(case) = cases.lock().unwrap().pop() else { break };
                    check_case(&case);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn check_case(case: &Case) {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path().join("replica");
    write(&replica, &case.objects);
    let (what, key) = (&case.what, &case.key);
    let quick = Verdict::verify(&replica, &[]);
    if case.quick {
        quick.assert_finds(key, case.problem, what);
    } else {
        quick.assert_good(what);
    }
    Verdict::verify(&replica, &["-full"]).assert_finds(key, case.problem, what);
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{what}: {left:?}");
}

fn segments() -> Vec<&'static String> {
    objects().keys().filter(|key| key.contains("/wal/")).collect()
}

fn snapshots() -> Vec<&'static String> {
    objects().keys().filter(|key| key.contains("/snapshots/")).collect()
}

#[test]
fn a_whole_replica_is_good() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path().join("replica");
    write(&replica, objects());
    for arguments in [&[][..], &["-full"]] {
        let verdict = Verdict::verify(&replica, arguments);
        verdict.assert_good("whole");
        let lines: Vec<&str> = verdict.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("database  replica  generation"), "{lines:?}");
        assert!(lines[1].ends_with("  ok"), "{lines:?}");
    }
    let json = Verdict::verify(&replica, &["-json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["objects"], objects().len());
    assert_eq!(json[0]["bytes"], objects().values().map(Vec::len).sum::<usize>());
    assert_eq!(json[0]["ok"], true);
    assert_eq!(json[0]["defects"], serde_json::json!([]));
}

#[test]
fn finds_each_object_that_is_missing() {
    let keys: Vec<&String> = objects().keys().collect();
    let (last_segment, last_snapshot) = (segments().len() - 1, snapshots().len() - 1);
    let missing = |key: &&&String| {
        // Nothing names the newest segment, nor the newest snapshot.
        **key != segments()[last_segment] && **key != snapshots()[last_snapshot]
    };
    let cases = keys.iter().filter(missing).map(|&key| {
        let mut objects = objects().clone();
        objects.remove(key);
        // Either the last segment of a WAL is missing, or the first one of the next WAL is wrong.
        let same_wal = |other: &&String| other[..other.len() - 17] == key[..key.len() - 17];
        let last = key.contains("/wal/") && segments().into_iter().rfind(same_wal) == Some(key);
        let (named, problem) = if last {
            let at = segments().iter().position(|other| *other == key).unwrap();
            (segments()[at + 1], "is missing")
        } else {
            (key, "it is missing")
        };
        Case { what: format!("no {key}"), objects, key: named.clone(), problem, quick: true }
    });
    check(cases.collect());
}

#[test]
fn finds_each_object_that_was_cut_off() {
    let cases = objects().iter().flat_map(|(key, content)| {
        [0, content.len() - 128, content.len() - 1].map(|length| {
            let mut objects = objects().clone();
            objects.insert(key.clone(), content[..length].to_vec());
            let what = format!("{key} cut to {length}");
            Case { what, objects, key: key.clone(), problem: "it ", quick: true }
        })
    });
    check(cases.collect());
}

#[test]
fn finds_a_flipped_bit_anywhere() {
    let cases = objects().iter().flat_map(|(key, content)| {
        let end = content.len();
        // Magic, data, header of the seal, seal. Of the seal, unit tests flip each bit.
        let places = [(0, false), (end / 3, false), (end - 128, true), (end - 60, true)];
        places.into_iter().map(move |(at, quick)| {
            let mut objects = objects().clone();
            objects.get_mut(key).unwrap()[at] ^= 4;
            let what = format!("{key} with byte {at} flipped");
            Case { what, objects, key: key.clone(), problem: "", quick }
        })
    });
    check(cases.collect());
}

#[test]
fn finds_objects_that_changed_places() {
    let mut cases = Vec::new();
    for keys in [segments(), snapshots()] {
        for pair in keys.windows(2) {
            let mut swapped = objects().clone();
            swapped.insert(pair[0].clone(), objects()[pair[1]].clone());
            swapped.insert(pair[1].clone(), objects()[pair[0]].clone());
            for key in pair {
                cases.push(Case {
                    what: format!("{} and {} changed places", pair[0], pair[1]),
                    objects: swapped.clone(),
                    key: (*key).clone(),
                    problem: "it was sealed as ",
                    quick: true,
                });
            }
        }
    }
    check(cases);
}

/// An object of an earlier history under the same name is sealed and intact, but the wrong one.
#[test]
fn finds_an_object_of_another_history() {
    let (generation, other) = ("generations/", "generations/00000000000000aa/");
    let cases = objects().iter().filter(|(key, _)| !key.contains("/wal/00000000_00000000")).map(
        |(key, content)| {
            let copy = key.replacen(&key[..generation.len() + 17], other, 1);
            let objects = objects().clone().into_iter().chain([(copy.clone(), content.clone())]);
            let what = format!("{copy} is of another generation");
            let objects = objects.collect();
            Case { what, objects, key: copy, problem: "it was sealed as ", quick: true }
        },
    );
    check(cases.collect());
}

#[test]
fn says_when_there_is_nothing_to_verify_or_no_access() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path().join("replica");
    for exists in [false, true] {
        let verdict = Verdict::verify(&replica, &[]);
        assert_eq!(verdict.status, 1, "{exists}");
        assert!(
            verdict.stderr.starts_with("error: no matching backups found"),
            "{}",
            verdict.stderr
        );
        fs::create_dir_all(&replica).unwrap();
    }
    write(&replica, objects());
    let verdict = Verdict::verify(&replica, &["-generation", "00000000000000aa"]);
    assert!(verdict.stderr.contains("no generation 00000000000000aa"), "{}", verdict.stderr);
    // Something that is not a directory cannot be listed: this must not pass for "there is
    // nothing".
    fs::remove_dir_all(replica.join("generations")).unwrap();
    fs::write(replica.join("generations"), "").unwrap();
    let verdict = Verdict::verify(&replica, &[]);
    assert_eq!(verdict.status, 1);
    assert!(verdict.stderr.contains("cannot verify replica \"file\""), "{}", verdict.stderr);
}

#[test]
fn verifies_all_that_is_configured() {
    let site = Site::new();
    let [first, second] = ["first", "second"].map(|name| site.path(name));
    let replicas = [&first, &second].map(|path| format!("path: {}", path.display()));
    let names = ["name: first, ", "name: second, "];
    let replicas: Vec<String> =
        names.iter().zip(replicas).map(|(a, b)| format!("{a}{b}")).collect();
    site.configure(
        "monitor-interval: 1s",
        &replicas.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    write(&first, objects());
    let verify =
        |arguments: &[&str]| Verdict::of(&mut site.command(&[&["verify"], arguments].concat()));
    let verdict = verify(&[]);
    assert_eq!(verdict.status, 1);
    let expected = "no matching backups found in replica \"second\"";
    assert!(verdict.stderr.contains(expected), "{}", verdict.stderr);
    verify(&["-replica", "first"]).assert_good("the first");
    write(&second, objects());
    let verdict = verify(&[]);
    verdict.assert_good("both");
    assert_eq!(verdict.stdout.lines().count(), 3, "{}", verdict.stdout);
    verify(&["-replica", "second", site.database().to_str().unwrap()]).assert_good("by path");
    assert!(verify(&["-replica", "third"]).stderr.contains("replica \"third\" not found"));
}

#[test]
fn raises_no_alarm_while_the_replica_changes() {
    let site = Site::with(
        "monitor-interval: 20ms, min-checkpoint-page-count: 10",
        "sync-interval: 20ms, snapshot-interval: 1s, retention: 1s, retention-check-interval: 1s",
    );
    let connection = open(&site.database());
    connection.execute_batch(Workload::SCHEMA).unwrap();
    let daemon = site.replicate();
    let mut workload = Workload::new(7);
    let writer = Background::start(move |_| {
        workload.step(&connection).unwrap();
        thread::sleep(Duration::from_millis(10));
    });
    eventually("segments", || site.listing().segments() > 3);
    for round in 0..20 {
        Verdict::of(&mut site.command(&["verify"])).assert_good(&format!("round {round}"));
        thread::sleep(Duration::from_millis(100));
    }
    for round in 0..3 {
        let mut command = site.command(&["verify", "-full"]);
        Verdict::of(command.env("TMPDIR", site.home())).assert_good(&format!("full {round}"));
    }
    writer.finish();
    daemon.stop();
}

/// Restores the replica over a database.
fn restore_over(replica: &Path, database: &Path, arguments: &[&str]) -> Verdict {
    let url = format!("file://{}", replica.display());
    let output = ["-o", database.to_str().unwrap(), &url];
    Verdict::of(litestream(replica.parent().unwrap()).arg("restore").args(arguments).args(output))
}

/// A replica, and another database with a row that is only in its log.
fn old_database() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path().join("replica");
    write(&replica, objects());
    fs::create_dir(home.path().join("data")).unwrap();
    let [live, database] = ["live.db", "data/app.db"].map(|name| home.path().join(name));
    let connection = open(&live);
    connection.execute_batch("CREATE TABLE old (x); INSERT INTO old VALUES (1)").unwrap();
    // The state that a killed container leaves.
    for suffix in ["", "-wal", "-shm"] {
        let [from, to] = [&live, &database].map(|path| format!("{}{suffix}", path.display()));
        fs::copy(from, to).unwrap();
    }
    (home, replica, database)
}

fn count(database: &Path, table: &str) -> rusqlite::Result<i64> {
    let connection = Connection::open(database).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
}

#[test]
fn restore_takes_the_place_of_a_database_only_by_force() {
    let (_home, replica, database) = old_database();
    let verdict = restore_over(&replica, &database, &[]);
    assert_eq!(verdict.status, 1);
    assert!(verdict.stderr.contains("output path already exists"), "{}", verdict.stderr);
    assert_eq!(count(&database, "old"), Ok(1));
    let (_home, replica, database) = old_database();
    restore_over(&replica, &database, &["-force"]).assert_good("force");
    // Its log was copied into it, or set aside, and never applied to the new database.
    assert!(!database.with_extension("db-wal").exists());
    assert!(!database.with_extension("db-shm").exists());
    assert!(count(&database, "t").unwrap() > 0);
    assert!(count(&database, "old").is_err());
    let connection = Connection::open(&database).unwrap();
    let whole: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
}

#[test]
fn a_restore_by_force_that_fails_leaves_the_old_database() {
    let (_home, replica, database) = old_database();
    let last = replica.join(segments().last().unwrap());
    let mut content = fs::read(&last).unwrap();
    let middle = content.len() / 3;
    content[middle] ^= 1;
    fs::write(last, content).unwrap();
    let files = read(database.parent().unwrap());
    let verdict = restore_over(&replica, &database, &["-force"]);
    assert_eq!(verdict.status, 1, "{}", verdict.stdout);
    assert!(read(database.parent().unwrap()) == files, "not as it was");
    assert_eq!(count(&database, "old"), Ok(1));
}

#[test]
fn a_database_that_is_in_use_is_not_replaced() {
    let (_home, replica, database) = old_database();
    let connection = open(&database);
    let rows = "SELECT count(*) FROM old";
    assert_eq!(connection.query_row(rows, [], |row| row.get(0)), Ok(1));
    let verdict = restore_over(&replica, &database, &["-force"]);
    assert_eq!(verdict.status, 1);
    assert!(verdict.stderr.contains("it is in use"), "{}", verdict.stderr);
    connection.execute("INSERT INTO old VALUES (2)", []).unwrap();
    drop(connection);
    assert_eq!(count(&database, "old"), Ok(2));
    restore_over(&replica, &database, &["-force"]).assert_good("not in use");
    assert!(count(&database, "old").is_err());
}

/// This must not be reported only after everything has been restored.
#[test]
fn that_a_database_is_in_use_is_said_before_anything_is_read() {
    let (home, _, database) = old_database();
    let _connection = open(&database);
    let empty = home.path().join("empty");
    let verdict = restore_over(&empty, &database, &["-force"]);
    assert_eq!(verdict.status, 1);
    assert!(verdict.stderr.contains("it is in use"), "{}", verdict.stderr);
}

#[test]
fn what_is_no_database_is_replaced_and_its_log_kept() {
    for content in [&b""[..], &[b'?'; 5000]] {
        let (_home, replica, database) = old_database();
        fs::write(&database, content).unwrap();
        // Use another log: with its own, the database could be read.
        let log = b"all that is left";
        fs::write(database.with_extension("db-wal"), log).unwrap();
        restore_over(&replica, &database, &["-force"]).assert_good("force");
        let files = read(database.parent().unwrap());
        let kept = files.iter().find(|(name, _)| name.starts_with("app.db-wal.before-restore-"));
        assert_eq!(kept.unwrap().1, log, "{:?}", files.keys());
        assert!(count(&database, "t").unwrap() > 0);
    }
    // A link is not followed, and not replaced.
    let (home, replica, database) = old_database();
    let link = home.path().join("link.db");
    std::os::unix::fs::symlink(&database, &link).unwrap();
    let verdict = restore_over(&replica, &link, &["-force"]);
    assert!(verdict.stderr.contains("is a link"), "{}", verdict.stderr);
    assert_eq!(count(&database, "old"), Ok(1));
}

#[test]
fn the_newest_objects_are_missed_where_it_is_known_that_they_were_stored() {
    let site = Site::new();
    site.write(1, 10);
    let daemon = site.replicate();
    eventually("a snapshot", || site.listing().snapshots() > 0);
    site.write(2, 10);
    daemon.stop();
    let verify = |arguments: &[&str]| {
        let mut verify = site.start(&mut site.command(&[&["verify"], arguments].concat()));
        (verify.wait(), verify.log())
    };
    assert_eq!(verify(&[]).0, 0);
    let listing = site.listing();
    let generation = listing.only();
    let newest = generation.segments.last().unwrap();
    let key = format!("generations/{}/wal/{newest}.wal.lz4", generation.name);
    fs::remove_file(site.replica().join(&key)).unwrap();
    let (status, log) = verify(&[]);
    assert_eq!(status, 1, "{log}");
    assert!(log.contains(&key) && log.contains("had acknowledged"), "{log}");

    // Remove all of that generation, while there is another one, which must not be taken for all
    // there is.
    let of = |name: &str| site.replica().join("generations").join(name);
    let other = Path::new(objects().keys().next().unwrap()).components().nth(1).unwrap();
    let other = other.as_os_str().to_str().unwrap();
    write(&site.replica(), objects());
    fs::remove_dir_all(of(&generation.name)).unwrap();
    let (status, log) = verify(&[]);
    assert_eq!(status, 1, "{log}");
    assert!(log.contains(&format!("{}/wal/", generation.name)), "{log}");
    assert_eq!(verify(&["-generation", other]).0, 0, "that was not asked for");
    assert_eq!(verify(&["-generation", &generation.name]).0, 1);
    let url = format!("file://{}", site.replica().display());
    assert_eq!(verify(&[&url]).0, 0, "the replica alone does not tell");
}

/// This works even for a replica named only by its URL, up to the position that validation has
/// proven.
#[test]
fn the_newest_objects_are_missed_that_were_proven() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path().join("replica");
    let generation = objects().keys().next().unwrap().split('/').nth(1).unwrap().parse().unwrap();
    let newest = segments().pop().unwrap();
    let Seal { end: position, .. } = Seal::at_end(&objects()[newest]).unwrap().unwrap();
    let proven = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let proof = Proof { generation, position, proven };
    let record = ProofRecord { last: Some(proof), damaged: None }.to_text().into_bytes();
    let with = |objects: Objects, record: &[u8]| {
        let _ = fs::remove_dir_all(&replica);
        write(&replica, &objects);
        fs::write(replica.join(ProofRecord::KEY), record).unwrap();
        Verdict::verify(&replica, &[])
    };
    with(objects().clone(), &record).assert_good("all that was proven");
    let mut lost = objects().clone();
    lost.remove(newest);
    let problem = "was proven to be restorable at 2023-11-14T22:13:20Z";
    with(lost.clone(), &record).assert_finds(newest, problem, "the newest");
    lost.retain(|key, _| !key.contains("/wal/00000001_"));
    with(lost, &record).assert_finds(segments()[3], problem, "a whole log");
    let gone = Proof { generation: Generation::from_bits(1), ..proof };
    let gone = ProofRecord { last: Some(gone), damaged: None }.to_text();
    with(objects().clone(), gone.as_bytes()).assert_good("a generation that has expired");
    let altered = with(objects().clone(), &record[1..]);
    assert_eq!(altered.status, 1);
    assert!(altered.stderr.contains("\"verified\" is altered"), "{}", altered.stderr);
}

/// A snapshot that is copied in the middle of a log is stored before the first segment of that
/// log, by an instant, or by the time that the daemon is down. A restore accepts it, so it must
/// not be a defect.
#[cfg(debug_assertions)]
#[test]
fn a_snapshot_that_was_copied_in_the_middle_of_a_log_needs_no_segment_yet() {
    let site = Site::new();
    site.write(1, 10);
    let reader = open(&site.database());
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    site.write(2, 10);
    site.arm("snapshot-stored = kill");
    let mut daemon = site.replicate();
    assert_eq!(daemon.wait(), 128 + 9, "{}", daemon.log());
    site.disarm();
    drop(reader);
    let listing = site.listing();
    assert_eq!((listing.snapshots(), listing.segments()), (1, 0));
    let verdict = Verdict::verify(&site.replica(), &["-full", "-json"]);
    verdict.assert_good("no segment yet");
    let json: serde_json::Value = serde_json::from_str(&verdict.stdout).unwrap();
    assert_ne!(json[0]["end"], "00000000_00000000", "{json}");
    site.restore(&[]);
}
