//! The binary: flags, messages and exit codes.

use std::path::Path;
use std::process::Output;

pub(crate) use crate::support::litestream;

fn run(home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        litestream(home).args(arguments).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Expects a failure with exactly one line, and returns that line.
fn error(home: &Path, arguments: &[&str]) -> String {
    let (status, stdout, stderr) = run(home, arguments);
    assert_eq!(status, 1, "{arguments:?}\n{stdout}\n{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}\n{stderr}");
    let line = stderr.trim_end();
    line.strip_prefix("error: ").unwrap_or_else(|| panic!("{arguments:?}: {line}")).to_owned()
}

fn home_with(config: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("c.yml"), config).unwrap();
    home
}

const CONFIG: &str = "dbs: [{path: /no/db, replicas: [{path: r}, {name: b, path: s}]}]\n";

#[test]
fn help_is_there_for_every_command() {
    let home = home_with("");
    let (status, stdout, stderr) = run(home.path(), &[]);
    assert_eq!((status, stderr.as_str()), (1, ""));
    for text in ["restore", "replicate", "Exit codes:", "LITESTREAM_CONFIG", "   75  ", "  130  "] {
        assert!(stdout.contains(text), "{text} is not in\n{stdout}");
    }
    for help in ["help", "-h", "-help", "--help"] {
        assert_eq!(run(home.path(), &[help]), (0, stdout.clone(), String::new()), "{help}");
    }
    for command in
        ["databases", "generations", "replicate", "restore", "snapshots", "verify", "wal"]
    {
        let (status, stdout, stderr) = run(home.path(), &[command, "-h"]);
        assert_eq!((status, stderr.as_str()), (0, ""), "{command}");
        assert!(stdout.contains("  -config <PATH>"), "{command}\n{stdout}");
        assert!(stdout.contains("Example"), "{command}\n{stdout}");
        assert_eq!(run(home.path(), &["help", command]).1, stdout);
    }
}

#[test]
fn version_is_that_of_the_crate() {
    let home = home_with("");
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(home.path(), &["version"]), (0, format!("{version}\n"), String::new()));
    let (_, json, _) = run(home.path(), &["version", "-json"]);
    assert_eq!(json, format!("{{\n  \"version\": \"{version}\"\n}}\n"));
}

#[test]
fn wrong_command_lines_are_errors_on_one_line() {
    let home = home_with(CONFIG);
    for (arguments, expected) in [
        (&["nope"][..], "litestream nope: unknown command; "),
        (&["restor"], "litestream restor: unknown command; a similar subcommand exists: 'restore'"),
        (&["restore", "-cnfig", "f"], "unexpected argument '-cnfig' found; "),
        (&["restore", "-v"], "unexpected argument '-v' found; "),
        (&["restore", "-config"], "a value is required for '-config <PATH>' but none was supplied"),
        (&["restore"], "database path or replica URL required"),
        (&["generations"], "database path or replica URL required"),
        (&["wal"], "database path or replica URL required"),
        (&["snapshots", "a", "b"], "unexpected argument 'b' found; "),
        (&["databases", "extra"], "unexpected argument 'extra' found; "),
        (&["wal", "-json=maybe", "x"], "unexpected value 'maybe' for '-json' found"),
        (&["restore", "-index", "xyz", "a"], "invalid value 'xyz' for '-index <HEX>': "),
        (
            &["restore", "-timestamp", "noon", "a"],
            "invalid value 'noon' for '-timestamp <TIME>': must specify in ISO 8601 format \
             (e.g. 2000-01-01T00:00:00Z); see `litestream restore -h`",
        ),
        // The database and the URL are given as `replicate` takes them.
        (
            &["restore", "a", "s3://b/p"],
            "unexpected argument 's3://b/p' found; a database and a URL are given as -o DB_PATH \
             REPLICA_URL; ",
        ),
        (
            &["restore", "-timestamp", "2026-01-01T00:00:00", "a"],
            "invalid value '2026-01-01T00:00:00' for '-timestamp <TIME>': must specify in ISO 8601 \
             format (e.g. 2000-01-01T00:00:00Z): its time zone is missing, as in Z or +01:00",
        ),
        (&["restore", "-parallelism", "0", "a"], "invalid value '0' for '-parallelism <N>': "),
        (&["restore", "-force", "-if-db-not-exists", "a"], "the argument '-force' cannot be used "),
        (&["restore", "-generation", "xyz", "a"], "invalid value 'xyz' for '-generation <NAME>': "),
        (
            &["restore", "-index", "1", "-timestamp", "2026-01-01T00:00:00Z", "a"],
            "cannot specify index & timestamp to restore",
        ),
        (
            &["restore", "-config", "c.yml", "-o", "x", "s3://b/p"],
            "cannot specify a replica URL and the -config flag",
        ),
        (&["restore", "file:///r"], "output path required"),
        (&["verify", "-fork", "0123456789abcdef"], "-fork is about one database: name it"),
        (&["replicate", "/db"], "must specify at least one replica URL for /db"),
        (
            &["replicate", "file:///r", "file:///s"],
            "the database comes first, and is no URL: file:///r",
        ),
        (&["replicate", "/db", "/r"], "replica url scheme required: /r"),
        (&["replicate", "/db", "sftp://h/r"], "sftp replicas are not supported here"),
        (&["replicate", "-config", "c.yml", "-exec", "'", "/db"], "must specify at least one"),
        (
            &["replicate", "-config", "c.yml", "/db", "file:///r"],
            "cannot specify a replica URL and the -config flag",
        ),
    ] {
        let found = error(home.path(), arguments);
        assert!(
            found.starts_with(expected),
            "{arguments:?}\nexpected {expected}\nfound    {found}"
        );
    }
}

#[test]
fn what_the_configuration_lacks_is_named() {
    let home = home_with(CONFIG);
    for (arguments, expected) in [
        (
            &["restore", "-config", "c.yml", "/no/other"][..],
            "database not found in config: /no/other; it has /no/db",
        ),
        (
            &["generations", "-config", "c.yml", "-replica", "x", "/no/db"],
            "replica \"x\" not found for database \"/no/db\"; it has file, b",
        ),
        (
            &["restore", "-config", "c.yml", "-if-replica-exists", "-replica", "x", "/no/db"],
            "replica \"x\" not found for database \"/no/db\"; it has file, b",
        ),
        (
            &["wal", "-config", "c.yml", "-generation", "0123456789abcdef", "/no/db"],
            "there are no WAL segments of a generation 0123456789abcdef: see `generations`",
        ),
        (
            &["restore", "-config", "c.yml", "-fork", "0123456789abcdef", "/no/db"],
            "there is no fork 0123456789abcdef; forks that there are: none",
        ),
    ] {
        assert_eq!(error(home.path(), arguments), expected);
    }
    std::fs::write(home.path().join("empty.yml"), "# nothing\n").unwrap();
    let found = error(home.path(), &["replicate", "-config", "empty.yml"]);
    assert!(found.starts_with("no databases specified in configuration"), "{found}");
    let (status, stdout, _) = run(home.path(), &["databases", "-config", "empty.yml"]);
    assert_eq!((status, stdout.as_str()), (0, "path  replicas\n"));
}

#[test]
fn lists_databases_as_table_and_as_json() {
    let home = home_with(CONFIG);
    for config in [&["-config", "c.yml"][..], &["-config=c.yml"], &["--config", "~/c.yml"]] {
        let arguments = [&["databases"], config].concat();
        let expected = "path    replicas\n/no/db  file,b\n".to_owned();
        assert_eq!(run(home.path(), &arguments), (0, expected, String::new()), "{config:?}");
    }
    let (_, json, _) = run(home.path(), &["databases", "-config", "c.yml", "-json"]);
    let words: String = json.split_whitespace().collect();
    assert_eq!(words, "[{\"path\":\"/no/db\",\"replicas\":[\"file\",\"b\"]}]");
}

#[test]
fn an_output_that_exists_is_kept() {
    let home = home_with("");
    let output = home.path().join("db");
    std::fs::write(&output, "mine").unwrap();
    let found = error(home.path(), &["restore", "-o", "db", "file:///nowhere"]);
    let expected = format!("cannot restore, output path already exists: {}; ", output.display());
    assert!(found.starts_with(&expected), "{found}");
    let arguments = ["restore", "-if-db-not-exists", "-o", "db", "file:///nowhere"];
    let (status, stdout, stderr) = run(home.path(), &arguments);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("level=INFO msg=\"database already exists, skipping\""), "{stdout}");
    assert!(stdout.starts_with("time=2"), "{stdout}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "mine");
    assert!(!stdout.contains("level=WARN"), "{stdout}");
    // As whoever opens a database makes it that is not there yet.
    std::fs::write(&output, "").unwrap();
    let (status, stdout, _) = run(home.path(), &arguments);
    assert_eq!(status, 0);
    assert!(stdout.contains("the file is empty: if it is to be restored, remove it"), "{stdout}");
}
