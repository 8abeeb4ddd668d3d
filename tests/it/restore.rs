//! Restores of what SQLite wrote, intact and damaged, from a store in memory.

mod losses;
mod memory;
mod plan;
mod primary;

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use litestream::format::{Generation, WalIndex};
use litestream::restore::{RestoreError, RestoreOptions, Restored, Target, Verdict, restore};
use litestream::store::Retrying;
use memory::Memory;
use primary::{Primary, at};

/// A place to restore to.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn options(&self) -> RestoreOptions {
        RestoreOptions {
            output: self.output(),
            replace: false,
            target: Target::Latest,
            generation: None,
            parallelism: 4,
        }
    }

    fn output(&self) -> PathBuf {
        self.0.path().join("restored.db")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn run(replicas: Vec<(&str, Memory)>, options: &RestoreOptions) -> Result<Restored, RestoreError> {
    let replicas = replicas.into_iter();
    let replicas =
        replicas.map(|(name, store)| (name.to_owned(), Retrying::new(name, store))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(restore(replicas, options))
}

/// Restores `target` and compares with what SQLite made of the same WAL.
fn check(store: &Memory, target: Target, expected: &[u8]) -> Restored {
    let scratch = Scratch::new();
    let options = RestoreOptions { target, ..scratch.options() };
    let restored = run(vec![("memory", store.clone())], &options).unwrap();
    assert!(fs::read(scratch.output()).unwrap() == expected, "not what SQLite made: {restored:?}");
    assert_eq!(scratch.names(), ["restored.db"]);
    restored
}

/// Expects an error that contains all of `texts`, and that no file is left.
fn check_error(store: &Memory, target: Target, texts: &[&str]) {
    let scratch = Scratch::new();
    let options = RestoreOptions { target, ..scratch.options() };
    let error = run(vec![("memory", store.clone())], &options).unwrap_err().to_string();
    for text in texts {
        assert!(error.contains(text), "{text:?} is not in {error:?}");
    }
    assert_eq!(scratch.names(), Vec::<String>::new(), "{error}");
}

/// Three WALs of three segments each, with the database after each of them.
fn history(sealed: bool) -> (Primary, Vec<Vec<u8>>) {
    history_of(3, sealed)
}

/// `count` WALs of `count` segments each, with the database after each segment.
fn history_of(count: usize, sealed: bool) -> (Primary, Vec<Vec<u8>>) {
    let mut primary = Primary::new(4096, sealed);
    let mut states = Vec::new();
    primary.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)");
    primary.begin_generation(1);
    for wal in 0..count {
        for segment in 0..count {
            for row in 0..2 {
                primary.execute(&format!(
                    "INSERT INTO t (text) VALUES ('{wal}/{segment}/{row}' || hex(randomblob(3000)))"
                ));
            }
            states.push(primary.sync());
        }
        if wal + 1 < count {
            primary.restart();
        }
    }
    (primary, states)
}

#[test]
fn restores_the_latest_and_says_what_is_proven() {
    for sealed in [true, false] {
        let (primary, states) = history(sealed);
        let restored = check(&primary.store, Target::Latest, states.last().unwrap());
        assert_eq!(restored.replica, "memory");
        assert_eq!(restored.position, primary.end());
        match restored.verdict {
            Verdict::Identical { committed } => assert!(sealed && committed == primary.now()),
            Verdict::Unsealed => assert!(!sealed),
        }
    }
}

#[test]
fn restores_every_moment_by_timestamp() {
    let (primary, states) = history(true);
    for (segment, created) in primary.segments().iter().enumerate() {
        for later in [Duration::ZERO, Duration::from_millis(999)] {
            check(&primary.store, Target::Timestamp(*created + later), &states[segment]);
        }
    }
    let end = SystemTime::now() + Duration::from_hours(100_000);
    check(&primary.store, Target::Timestamp(end), states.last().unwrap());
    check_error(
        &primary.store,
        Target::Timestamp(at(0)),
        &["no snapshot at or before 2023-11-14T22:13:20", "the oldest is from 2023-11-14T22:13:21"],
    );
}

#[test]
fn restores_the_end_of_each_index() {
    let (primary, states) = history(true);
    for (index, state) in [(0, 2), (1, 5), (2, 8), (9, 8)] {
        let target = Target::Index(WalIndex::new(index).unwrap());
        check(&primary.store, target, &states[state]);
    }
}

#[test]
fn starts_from_the_newest_snapshot_that_is_not_too_new() {
    for sealed in [true, false] {
        let (mut primary, mut states) = history(sealed);
        primary.restart();
        primary.snapshot();
        check(&primary.store, Target::Latest, &states[8]);
        primary.execute("DELETE FROM t WHERE id = 3");
        states.push(primary.sync());
        // What comes before the snapshot no longer matters, even if only a part is left.
        for key in primary.store.keys().iter().filter(|key| key.contains("/wal/00000001_")) {
            primary.store.remove(key);
        }
        check(&primary.store, Target::Latest, &states[9]);
        check_error(
            &primary.store,
            Target::Index(WalIndex::new(1).unwrap()),
            &["all segments of a WAL are missing", "/wal/00000001_"],
        );
    }
}

#[test]
fn falls_back_to_an_older_snapshot_that_gives_the_same() {
    let (mut primary, mut states) = history(true);
    primary.restart();
    let key = primary.snapshot();
    primary.execute("DELETE FROM t WHERE id = 3");
    states.push(primary.sync());
    primary.store.flip(&key, 2000);
    check(&primary.store, Target::Latest, &states[9]);
}

#[test]
fn replays_the_wal_up_to_where_a_snapshot_was_taken() {
    for sealed in [true, false] {
        let mut primary = Primary::new(4096, sealed);
        primary.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)");
        primary.execute("INSERT INTO t (text) VALUES (hex(randomblob(5000)))");
        primary.begin_generation(1);
        let mut states = Vec::new();
        for _ in 0..3 {
            primary.execute("INSERT INTO t (text) VALUES (hex(randomblob(5000)))");
            states.push(primary.sync());
        }
        // The snapshot is taken in the middle of the WAL: the file already has its pages.
        primary.backfill();
        let snapshot = primary.snapshot();
        check(&primary.store, Target::Latest, &states[2]);
        if sealed {
            let last = primary.store.keys().into_iter().rfind(|key| key.contains("/wal/")).unwrap();
            primary.store.remove(&last);
            check_error(&primary.store, Target::Latest, &[&snapshot, "it was copied at"]);
        }
    }
}

/// A snapshot may be copied at the end of a log, while another process copies all of that log into
/// the database and begins a new one. It must not be refused until the new log is as long as the
/// old one.
#[test]
fn takes_a_snapshot_that_was_copied_at_the_end_of_an_earlier_log() {
    for behind in [0, 1, 2] {
        let mut primary = Primary::new(4096, true);
        primary.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)");
        primary.begin_generation(1);
        primary.execute("INSERT INTO t (text) VALUES (hex(randomblob(5000)))");
        primary.begin_generation_behind_log(2);
        let end = primary.end();
        assert_eq!(end.offset, 0);
        let mut state = primary.sync();
        for _ in 0..behind {
            primary.execute("INSERT INTO t (text) VALUES (hex(randomblob(5)))");
            state = primary.sync();
        }
        check(&primary.store, Target::Latest, &state);
    }
}

#[test]
fn refuses_each_flipped_byte_cut_and_missing_object_by_name() {
    for sealed in [true, false] {
        let (primary, _) = history_of(2, sealed);
        let keys = primary.store.keys();
        for key in &keys {
            let size = primary.store.size(key);
            // A byte of the LZ4 header, of the content, of the checksum, and of the seal.
            for byte in [2, 60, size / 2, size - 130, size - 60, size - 2] {
                let damaged = primary.store.deep_clone();
                damaged.flip(key, byte);
                check_error(&damaged, Target::Latest, &[key]);
            }
            for length in [0, 3, size / 2, size - 1] {
                let damaged = primary.store.deep_clone();
                damaged.truncate(key, length);
                check_error(&damaged, Target::Latest, &[key]);
            }
        }
        for gap in keys.windows(2) {
            // A missing last segment, or a missing snapshot, cannot be seen as a gap.
            let damaged = primary.store.deep_clone();
            if gap[0].contains("/wal/") {
                damaged.remove(&gap[0]);
                let tail_of_wal = !gap[1].contains(&gap[0][gap[0].len() - 25..gap[0].len() - 16]);
                // Without seals, only the salt of the next WAL could show it.
                if sealed || !tail_of_wal {
                    check_error(&damaged, Target::Latest, &["generations/0000000000000001/wal/"]);
                }
            }
        }
    }
}

#[test]
fn refuses_objects_at_the_wrong_place() {
    for sealed in [true, false] {
        let (primary, _) = history(sealed);
        let keys: Vec<_> =
            primary.store.keys().into_iter().filter(|key| key.contains("/wal/")).collect();
        for pair in keys.windows(2) {
            let damaged = primary.store.deep_clone();
            damaged.swap(&pair[0], &pair[1]);
            check_error(&damaged, Target::Latest, &[&pair[0]]);
        }
    }
}

#[test]
fn refuses_a_segment_of_another_history_that_fits_by_its_bytes() {
    // It is sealed as if an earlier segment had been another one.
    let mut primary = Primary::new(4096, true);
    primary.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)");
    primary.begin_generation(1);
    primary.execute("INSERT INTO t VALUES (1, 'one')");
    primary.sync();
    primary.execute("INSERT INTO t VALUES (2, 'two')");
    primary.forge_link();
    primary.sync();
    let last = primary.store.keys().into_iter().rfind(|key| key.contains("/wal/")).unwrap();
    check_error(&primary.store, Target::Latest, &[&last, "it does not continue the segment"]);
}

#[test]
fn refuses_a_database_that_is_not_the_one_that_was_sealed() {
    let mut primary = Primary::new(4096, true);
    primary.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)");
    primary.begin_generation(1);
    primary.execute("INSERT INTO t VALUES (1, 'one')");
    primary.forge_digest();
    primary.sync();
    let last = primary.store.keys().into_iter().rfind(|key| key.contains("/wal/")).unwrap();
    check_error(&primary.store, Target::Latest, &[&last, "its digest is"]);
}

#[test]
fn gives_what_a_checkpoint_gives_at_every_page_size() {
    for page_size in [512, 65536] {
        for vacuum in ["NONE", "FULL", "INCREMENTAL"] {
            let mut primary = Primary::with(page_size, true, vacuum);
            primary.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)");
            primary.execute(FILL);
            primary.begin_generation(1);
            for statement in [
                "DELETE FROM t WHERE id % 3 > 0",
                "PRAGMA incremental_vacuum(7)",
                "VACUUM",
                FILL,
                "DROP TABLE t",
                "PRAGMA incremental_vacuum",
                "CREATE TABLE t (id INTEGER PRIMARY KEY, text)",
                FILL,
                "DELETE FROM t",
                "VACUUM",
            ] {
                primary.execute(statement);
                match statement.split(' ').next().unwrap() {
                    "CREATE" => (),
                    "DELETE" => primary.restart(),
                    _ => {
                        let state = primary.sync();
                        check(&primary.store, Target::Latest, &state);
                    }
                }
            }
            let state = primary.sync();
            check(&primary.store, Target::Latest, &state);
        }
    }
}

const FILL: &str = "INSERT INTO t (text) WITH RECURSIVE n(i) AS
    (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) SELECT hex(randomblob(i * 40)) FROM n";

#[test]
fn applies_a_transaction_that_does_not_fit_in_memory_and_spans_segments() {
    let mut primary = Primary::new(4096, false);
    primary.execute("CREATE TABLE t (data)");
    primary.begin_generation(1);
    primary.execute("INSERT INTO t SELECT randomblob(20000000) FROM (VALUES (1), (2))");
    primary.cut(10_000_000);
    let state = primary.sync();
    check(&primary.store, Target::Latest, &state);
}

#[test]
fn leaves_out_what_was_not_committed() {
    let (mut primary, states) = history(false);
    primary.execute("INSERT INTO t (text) VALUES (hex(randomblob(50000)))");
    primary.cut(4 * 4120);
    let restored = check(&primary.store, Target::Latest, &states[8]);
    assert!(restored.position < primary.end());
}

#[test]
fn restores_an_empty_database() {
    for sealed in [true, false] {
        let mut primary = Primary::new(4096, sealed);
        primary.begin_generation(1);
        primary.execute("CREATE TABLE t (id)");
        let state = primary.sync();
        check(&primary.store, Target::Latest, &state);
    }
}

#[test]
fn restores_over_the_page_of_the_locks() {
    // At 1 GiB there is a page that SQLite never writes.
    let mut primary = Primary::new(65536, false);
    primary.execute("CREATE TABLE t (data)");
    primary.extend((1 << 30) / 65536 - 2);
    primary.begin_generation(1);
    primary.execute("INSERT INTO t VALUES (randomblob(300000))");
    primary.cut(usize::MAX);
    primary.backfill();
    let scratch = Scratch::new();
    let restored = run(vec![("memory", primary.store.clone())], &scratch.options()).unwrap();
    assert!(restored.bytes > (1 << 30) + 65536);
    let [mut expected, mut found] =
        [primary.path(), scratch.output()].map(|path| fs::File::open(path).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = expected.read(&mut left).unwrap();
        found.read_exact(&mut right[..read]).unwrap();
        assert!(left[..read] == right[..read]);
        if read == 0 {
            break;
        }
    }
    assert_eq!(found.read(&mut right).unwrap(), 0);
}

#[test]
fn takes_the_newest_generation_that_can_be_restored() {
    let (mut primary, states) = history(true);
    let middle = primary.now() + Duration::from_millis(500);
    primary.begin_generation(2);
    primary.execute("DELETE FROM t");
    let state = primary.sync();
    check(&primary.store, Target::Latest, &state);
    check(&primary.store, Target::Timestamp(middle), states.last().unwrap());
    let scratch = Scratch::new();
    let generation = Some(Generation::from_bits(1));
    let options = RestoreOptions { generation, ..scratch.options() };
    let restored = run(vec![("memory", primary.store.clone())], &options).unwrap();
    assert_eq!(restored.generation, Generation::from_bits(1));
    let scratch = Scratch::new();
    let generation = Some(Generation::from_bits(3));
    let options = RestoreOptions { generation, ..scratch.options() };
    let error = run(vec![("memory", primary.store.clone())], &options).unwrap_err();
    assert!(error.to_string().starts_with("no matching backups found"), "{error}");
}

/// If the snapshot of the newest generation is gone, an older generation must not be restored
/// instead: that would be an older database, with only a warning and exit code 0.
#[test]
fn a_generation_that_has_lost_its_snapshot_is_not_passed_over() {
    let two = |sealed| {
        let (mut primary, states) = history(sealed);
        let whole = primary.store.deep_clone();
        primary.begin_generation(2);
        primary.execute("DELETE FROM t");
        primary.sync();
        for key in primary.store.keys().iter().filter(|key| key.contains("2/snapshots/")) {
            primary.store.remove(key);
        }
        (primary, states, whole)
    };
    let (primary, states, whole) = two(true);
    let lost =
        ["generation, 0000000000000002, has no snapshot any more", "-generation 0000000000000001"];
    check_error(&primary.store, Target::Latest, &lost);
    let scratch = Scratch::new();
    let generation = Some(Generation::from_bits(1));
    let options = RestoreOptions { generation, ..scratch.options() };
    run(vec![("memory", primary.store.clone())], &options).unwrap();
    assert!(fs::read(scratch.output()).unwrap() == *states.last().unwrap());
    // Another replica is used, with a warning that it may be older.
    let scratch = Scratch::new();
    let replicas = vec![("lost", primary.store.clone()), ("whole", whole)];
    assert_eq!(run(replicas, &scratch.options()).unwrap().replica, "whole");
    // Litestream stores segments while it is still storing the first snapshot.
    let (primary, states, _) = two(false);
    check(&primary.store, Target::Latest, states.last().unwrap());
}

#[test]
fn tells_an_empty_replica_from_one_that_does_not_answer() {
    let scratch = Scratch::new();
    let error = run(vec![("memory", Memory::default())], &scratch.options()).unwrap_err();
    assert!(matches!(error, RestoreError::NoBackup), "{error}");
    let refusing = Memory::default();
    refusing.reject("403");
    let replicas = vec![("memory", Memory::default()), ("refusing", refusing.clone())];
    let error = run(replicas, &scratch.options()).unwrap_err();
    assert!(matches!(error, RestoreError::Other(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("cannot list replica refusing") && text.contains("403"), "{text}");
    let (primary, states) = history(true);
    run(vec![("refusing", refusing), ("good", primary.store)], &scratch.options()).unwrap();
    assert!(fs::read(scratch.output()).unwrap() == states[8]);
}

#[test]
fn tries_again_what_fails_for_a_moment() {
    let (primary, states) = history(true);
    primary.store.fail(3);
    check(&primary.store, Target::Latest, states.last().unwrap());
}

#[test]
fn falls_back_to_another_replica_when_one_is_damaged() {
    let (primary, states) = history(true);
    let damaged = primary.store.deep_clone();
    let key = damaged.keys().into_iter().rfind(|key| key.contains("/wal/")).unwrap();
    damaged.flip(&key, 40);
    let scratch = Scratch::new();
    let replicas = vec![("damaged", damaged), ("good", primary.store)];
    let restored = run(replicas, &scratch.options()).unwrap();
    assert_eq!(restored.replica, "good");
    assert!(fs::read(scratch.output()).unwrap() == states[8]);
}

#[test]
fn never_replaces_a_file() {
    let scratch = Scratch::new();
    fs::write(scratch.output(), "precious").unwrap();
    let error = run(vec![("memory", history(true).0.store)], &scratch.options()).unwrap_err();
    let expected =
        format!("cannot restore, output path already exists: {}; ", scratch.output().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(fs::read(scratch.output()).unwrap(), b"precious");
}

#[test]
fn gives_the_file_to_the_owner_of_its_directory() {
    let scratch = Scratch::new();
    let parent = scratch.0.path().join("data");
    fs::create_dir(&parent).unwrap();
    // Only root can give a directory away; for others it is their own.
    let _ = std::os::unix::fs::chown(&parent, Some(1234), Some(5678));
    let output = parent.join("below/it/db");
    let options = RestoreOptions { output: output.clone(), ..scratch.options() };
    run(vec![("memory", history(true).0.store)], &options).unwrap();
    let (parent, file) = (parent.metadata().unwrap(), output.metadata().unwrap());
    for below in output.ancestors().skip(1).take(2).map(|path| path.metadata().unwrap()) {
        assert_eq!((below.uid(), below.mode()), (parent.uid(), parent.mode()));
    }
    assert_eq!(file.uid(), parent.uid());
    assert_eq!(file.mode() & 0o137, 0, "{:o}", file.mode());
    assert_eq!(file.mode() & 0o600, 0o600, "{:o}", file.mode());
}

#[test]
fn sets_the_files_of_an_earlier_database_aside_and_removes_left_overs() {
    // A killed container leaves its log, and SQLite would apply it to the restored database.
    let (primary, states) = history(true);
    let scratch = Scratch::new();
    for suffix in ["-wal", "-shm", "-journal"] {
        fs::write(scratch.0.path().join(format!("restored.db{suffix}")), suffix).unwrap();
    }
    fs::write(scratch.0.path().join(".restored.db.restore"), "left over").unwrap();
    run(vec![("memory", primary.store)], &scratch.options()).unwrap();
    let names = scratch.names();
    assert_eq!(names.len(), 4, "{names:?}");
    for (name, suffix) in names[1..].iter().zip(["-journal", "-shm", "-wal"]) {
        assert!(name.starts_with(&format!("restored.db{suffix}.before-restore-")), "{name}");
        assert_eq!(fs::read(scratch.0.path().join(name)).unwrap(), suffix.as_bytes());
    }
    assert!(fs::read(scratch.output()).unwrap() == states[8]);
}

/// The owner of the directory may have put a link there, and we may be root.
#[test]
fn a_link_in_the_place_of_the_file_that_is_made_is_left_alone() {
    let (primary, _) = history(true);
    let scratch = Scratch::new();
    let precious = scratch.0.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    let partial = scratch.0.path().join(".restored.db.restore");
    std::os::unix::fs::symlink(&precious, &partial).unwrap();
    let error = run(vec![("memory", primary.store)], &scratch.options()).unwrap_err().to_string();
    assert!(error.contains(&format!("cannot create {}", partial.display())), "{error}");
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert_eq!(scratch.names(), [".restored.db.restore", "precious"]);
}

#[test]
fn stops_and_cleans_up_when_nobody_waits() {
    let (primary, _) = history(true);
    primary.store.stall();
    let scratch = Scratch::new();
    let options = scratch.options();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let restore = restore(vec![("memory".to_owned(), primary.store.clone())], &options);
        tokio::time::timeout(Duration::from_millis(200), restore).await.unwrap_err();
    });
    // Waits for the thread that writes.
    drop(runtime);
    assert_eq!(scratch.names(), Vec::<String>::new());
}
