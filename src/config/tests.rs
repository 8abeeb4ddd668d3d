use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::Section;
use super::*;
use crate::store::{Location, S3Location, Secret};

const SAMPLE: &str = include_str!("../../litestream.yaml.sample");

fn parse(text: &str) -> Result<Config, String> {
    let variables = |name: &str| match name {
        "HALF" => Some("500ms".to_owned()),
        "PAGES" => Some("50".to_owned()),
        "COLON" => Some("a: b # c".to_owned()),
        _ => None,
    };
    Config::parse(text, Some(&variables)).map_err(|error| error.to_string())
}

/// A configuration with `lines` in its only replica.
fn with_replica(lines: &[&str]) -> String {
    format!("dbs:\n- path: /db\n  replicas:\n  - {}\n", lines.join("\n    "))
}

fn location(text: &str) -> Location {
    parse(text).unwrap().sources.databases[0].replicas[0].location.clone()
}

/// The sample with all its settings active.
fn uncommented() -> String {
    let lines = SAMPLE.lines().map(|line| {
        let text = line.trim_start();
        let is_setting = text.strip_prefix('#').is_some_and(|rest| {
            rest.starts_with("- ")
                || rest.starts_with("  ") && !rest.trim_start().starts_with('#')
                || rest.starts_with(|first: char| first.is_ascii_lowercase())
        });
        if is_setting { line.replacen('#', "", 1) } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_means_what_it_says() {
    let config = parse(SAMPLE).unwrap();
    assert_eq!(config.sources.databases.len(), 1);
    let database = &config.sources.databases[0];
    assert_eq!(database.path, PathBuf::from("/data/bbs.sqlite"));
    assert_eq!(database.state_directory, PathBuf::from("/data/.bbs.sqlite-litestream"));
    assert_eq!(database.replicas.len(), 1);
    assert_eq!(database.replicas[0].name, "bbs.sqlite");
    let expected = S3Location {
        bucket: "entgo-bbs".to_owned(),
        prefix: "bbs.sqlite".to_owned(),
        endpoint: Some("https://your-minio.example.com".to_owned()),
        region: Some("us-east1".to_owned()),
        force_path_style: Some(true),
        skip_verify: false,
        access_key_id: Some("your-minio-access-key".to_owned()),
        secret_access_key: Some(Secret::new("your-minio-secret-key")),
    };
    assert_eq!(database.replicas[0].location, Location::S3(expected));
    assert_eq!((config.address, config.exec), (None, None));
}

#[test]
fn the_defaults_in_the_sample_are_the_defaults() {
    let (plain, full) = (parse(SAMPLE).unwrap(), parse(&uncommented()).unwrap());
    assert_eq!(full.address.as_deref(), Some(":9090"));
    assert_eq!(full.exec, Some(vec!["your-application".to_owned(), "--its-flag".to_owned()]));
    assert_eq!(full.sources.databases[0].replicas.len(), 3);
    let mut same = full.clone();
    (same.address, same.exec) = (None, None);
    let directory = same.sources.directories.remove(0);
    assert!(!directory.recursive && !directory.watch);
    same.sources.databases[0].replicas.truncate(1);
    assert_eq!(same, plain);
}

#[test]
fn the_sample_has_every_key() {
    // Keys of unsupported kinds of replica, which are known only to be refused.
    let refused = ["account-key", "account-name", "age", "host", "key-path", "password", "user"];
    for key in all_keys() {
        let camel = if key == "force-path-style" { "forcePathStyle" } else { key };
        let found = uncommented()
            .lines()
            .any(|line| line.trim_start_matches([' ', '-']).starts_with(&format!("{camel}:")));
        assert_eq!(found, !refused.contains(&key), "{key}");
    }
}

fn all_keys() -> impl Iterator<Item = &'static str> {
    [raw::Config::KEYS, raw::Database::KEYS, raw::Replica::KEYS, raw::Logging::KEYS]
        .into_iter()
        .flatten()
        .copied()
}

#[test]
fn every_key_with_one_wrong_letter_is_an_error_that_names_it() {
    let text = uncommented();
    for (number, line) in text.lines().enumerate() {
        let start = line.len() - line.trim_start_matches([' ', '-']).len();
        let Some((key, _)) = line[start..].split_once(':') else { continue };
        if key.contains([' ', '#']) {
            continue;
        }
        for at in 0..key.len() {
            let mutations = [
                format!("{}z{}", &key[..at], &key[at + 1..]),
                format!("{}{}", &key[..at], &key[at + 1..]),
                format!("{}z{}", &key[..at], &key[at..]),
            ];
            for wrong in mutations {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines[number] = line.replacen(key, &wrong, 1);
                let error = parse(&lines.join("\n")).unwrap_err();
                let place = format!("{}:{}: unknown key `{wrong}` in", number + 1, start + 1);
                let place_of_top = place.replace("` in", "` at the top");
                assert!(error.starts_with(&place) || error.starts_with(&place_of_top), "{error}");
            }
        }
    }
}

#[test]
fn variables_stand_for_values_of_every_type() {
    let config = parse(&format!(
        "{}  min-checkpoint-page-count: $PAGES # costs $5\n",
        with_replica(&[
            "{path: '/x/$COLON', sync-interval: $HALF, name: ${NONE:-a: {b}, retention: ${NO:-2h}}"
        ])
    ))
    .unwrap();
    let database = &config.sources.databases[0];
    assert_eq!(database.min_checkpoint_pages, 50);
    assert_eq!(database.replicas[0].sync_interval, Duration::from_millis(500));
    assert_eq!(database.replicas[0].retention, Duration::from_hours(2));
    assert_eq!(database.replicas[0].name, "a: {b");
    assert_eq!(database.replicas[0].location, Location::File("/x/a: b # c".into()));
    let text = with_replica(&["path: /x/$HALF/${Y:-z}"]);
    let unexpanded = Config::parse(&text, None).unwrap();
    let expected = Location::File("/x/$HALF/${Y:-z}".into());
    assert_eq!(unexpanded.sources.databases[0].replicas[0].location, expected);
}

/// A `$` in a password makes what follows look like the name of a variable, which must not be
/// shown.
#[test]
fn no_part_of_a_secret_is_in_an_error() {
    for (secret, shown) in [("pa$word", false), ("${SECRET}", true)] {
        let keys = ["url: s3://b", "access-key-id: a", &format!("secret-access-key: '{secret}'")];
        let error = parse(&with_replica(&keys)).unwrap_err();
        assert!(error.contains("`secret-access-key`: ") && error.contains("`$$`"), "{error}");
        assert_eq!(error.contains("word") || error.contains("SECRET"), shown, "{error}");
    }
}

#[test]
fn s3_is_found_by_keys_and_by_url() {
    let s3 = |bucket: &str, prefix: &str| S3Location {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        ..S3Location::default()
    };
    for (lines, expected) in [
        (&["type: s3", "bucket: b"][..], s3("b", "")),
        (&["type: s3", "bucket: b", "path: a//b/./c/"], s3("b", "a/b/c")),
        (&["type: s3", "bucket: b", "path: /a"], s3("b", "/a")),
        (&["url: s3://b/p"], s3("b", "p")),
        (&["url: s3://b/p", "type: file"], s3("b", "p")),
        (
            &["url: s3://b/p", "endpoint: http://h:9000", "skipVerify: on"],
            S3Location {
                endpoint: Some("http://h:9000".into()),
                skip_verify: true,
                ..s3("b", "p")
            },
        ),
    ] {
        assert_eq!(location(&with_replica(lines)), Location::S3(expected), "{lines:?}");
    }
    let inherited = "access-key-id: 1e10\nsecret-access-key: '07'\n".to_owned()
        + &with_replica(&["url: s3://b", "secret-access-key: own"]);
    let Location::S3(found) = location(&inherited) else { panic!("not on S3") };
    assert_eq!(found.access_key_id.as_deref(), Some("1e10"));
    assert_eq!(found.secret_access_key, Some(Secret::new("own")));
}

#[test]
fn advises_on_what_is_nearly_right() {
    for (text, expected) in [
        (
            with_replica(&["type: s3", "bucket: b/p"]),
            "5:13: `bucket`: \"b/p\" is no name of a bucket; write `bucket: NAME` and",
        ),
        (
            with_replica(&["type: s3", "bucket: s3://b"]),
            "5:13: `bucket`: \"s3://b\" is no name of a bucket",
        ),
        (
            with_replica(&["url: /r"]),
            "4:10: replica url scheme required: /r; write a URL such as file:///r",
        ),
        (
            format!("addr: 9090\n{}", with_replica(&["path: /r"])),
            "1:7: must specify port for bind address: \"9090\"; write \":9090\"",
        ),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.starts_with(expected), "{text}\nexpected {expected}\nfound    {error}");
    }
}

#[test]
fn refuses_what_cannot_work_and_says_where() {
    let replica = |lines: &[&str]| with_replica(lines);
    let database = |line: &str| format!("{}  {line}\n", with_replica(&["path: /r"]));
    let top = |line: &str| format!("{line}\n{}", with_replica(&["path: /r"]));
    for (text, expected) in [
        (replica(&["pth: /r"]), "4:5: unknown key `pth` in a replica; did you mean `path`?"),
        (
            database("sync-interval: 1s"),
            "5:3: unknown key `sync-interval` in a database; it belongs in a replica",
        ),
        (
            top("zzzzzzzzzz: 1"),
            "1:1: unknown key `zzzzzzzzzz` at the top level; known are access-key-id, ",
        ),
        (replica(&["path: /r", "path: /s"]), "5:5: duplicate key `path` in a replica"),
        (replica(&["path: [/r]"]), "4:11: "),
        (
            replica(&["secret-access-key:hunter2"]),
            "4:5: expected keys and values in a replica, found a text",
        ),
        (
            replica(&["path: /r", "  name: x"]),
            "5:11: mapping values are not allowed in this context",
        ),
        (replica(&["path: /r/$NONE"]), "4:11: `path`: the environment variable NONE is not set; "),
        (
            replica(&["path: /r", "sync-interval: 1M"]),
            "5:20: `sync-interval`: \"1M\" is not a duration; ",
        ),
        (
            replica(&["path: /r", "sync-interval: 0"]),
            "5:20: `sync-interval` must not be 0; leave it out for the default, 1s",
        ),
        (
            replica(&["path: /r", "retention-check-interval: 0s"]),
            "5:31: `retention-check-interval` must not be 0; leave it out for the default, 1h",
        ),
        (database("monitor-interval: 0s"), "5:21: `monitor-interval` must not be 0; "),
        (database("min-checkpoint-page-count: 0"), "5:30: minimum checkpoint page count required"),
        (
            database("min-checkpoint-page-count: -1"),
            "5:30: `min-checkpoint-page-count`: \"-1\" is not a number",
        ),
        (replica(&["type: s3"]), "4:5: bucket required for s3 replica"),
        (
            replica(&["type: s3", "bucket: b", "path: /"]),
            "6:11: `path`: \"/\" is no place in a bucket",
        ),
        (replica(&["type: file"]), "4:5: file replica path required"),
        (
            replica(&["type: sftp"]),
            "4:11: sftp replicas are not supported here; supported are s3 and file",
        ),
        (replica(&["url: gcs://b/p"]), "4:10: gcs replicas are not supported here"),
        (replica(&["type: ftp"]), "4:11: unknown replica type \"ftp\""),
        (replica(&["host: h"]), "4:11: `host` is for sftp replicas"),
        (
            replica(&["path: /r", "age: {recipients: [x]}"]),
            "5:10: encryption with `age` is not supported",
        ),
        (
            replica(&["path: /r", "bucket: b"]),
            "5:13: `bucket` in a file replica; is `type: s3` missing?",
        ),
        (replica(&["url: s3://b", "path: p"]), "5:11: cannot specify url & path for s3 replica"),
        (
            replica(&["url: s3://b", "bucket: p"]),
            "5:13: cannot specify url & bucket for s3 replica",
        ),
        (
            replica(&["path: s3://b/p"]),
            "4:11: replica path cannot be a url, please use the 'url' field instead: s3://b/p",
        ),
        (
            replica(&["type: s3", "bucket: b", "access-key-id: a"]),
            "4:5: `access-key-id` without `secret-access-key`",
        ),
        (
            replica(&["type: s3", "bucket: b", "skip-verify: maybe"]),
            "6:18: `skip-verify`: \"maybe\" is neither true nor false",
        ),
        (top("addr: localhost"), "1:7: must specify port for bind address: \"localhost\""),
        (top("addr: localhost:x"), "1:7: the port in \"localhost:x\" is not a number"),
        (top("exec: \"a 'b\""), "1:7: cannot read the command \"a 'b\""),
        (
            top("logging: {type: xml}"),
            "1:17: unknown logging type \"xml\"; known are text and json",
        ),
        (top("logging: {level: loud}"), "1:18: unknown logging level \"loud\""),
        ("dbs:\n- path: /db\n".to_owned(), "2:3: a database without replicas"),
        ("dbs:\n- replicas: []\n".to_owned(), "2:3: a database without a `path`"),
        ("dbs: {}\n".to_owned(), "1:6: "),
        ("[]".to_owned(), "1:1: "),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.starts_with(expected), "{text}\nexpected {expected}\nfound    {error}");
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn refuses_two_of_a_kind() {
    let first = with_replica(&["path: /r"]);
    let and = |text: &str| format!("{first}{text}\n");
    for (text, expected) in [
        (and("- path: /db\n  replicas: [{path: /s}]"), "5:9: duplicate database path: /db"),
        (and("- path: /./db\n  replicas: [{path: /s}]"), "5:9: duplicate database path: /db"),
        (
            and("- path: /e\n  meta-path: /.db-litestream\n  replicas: [{path: /s}]"),
            "6:14: /.db-litestream is already used for /db",
        ),
        (
            and("- path: /e\n  replicas: [{path: /r}]"),
            "6:14: replica \"file\" of /db is kept in the same place",
        ),
        (and("  - path: /s"), "5:5: duplicate replica name: \"file\""),
        (and("  - path: /s\n    name: file"), "6:11: duplicate replica name: \"file\""),
        (
            and("  - path: /r\n    name: b"),
            "5:5: replica \"file\" of /db is kept in the same place",
        ),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.starts_with(expected), "{text}\nexpected {expected}\nfound    {error}");
    }
}

#[test]
fn refuses_directories_that_are_not_clear() {
    for (text, expected) in [
        ("dir: /d", "2:3: a `dir` without a `pattern`"),
        ("dir: /d\n  path: /d/a", "2:8: a database has a `path` or a `dir`"),
        ("dir: /d\n  pattern: a[", "3:12: `pattern`: \"a[\" is no pattern"),
        ("path: /d\n  watch: yes", "3:10: `watch` is for a `dir`"),
        ("dir: /d\n  meta-path: /m", "3:14: each database of a `dir`"),
    ] {
        let error = parse(&format!("dbs:\n- {text}\n")).unwrap_err();
        assert!(error.contains(expected), "{text}\nexpected {expected}\nfound    {error}");
    }
}

#[test]
fn a_database_of_a_directory_is_known_before_there_is_one() {
    let text = "dbs:\n- dir: /data\n  pattern: '*.db'\n  recursive: true\n  \
                replicas: [{url: 's3://b/tenants', retention: 1h}]\n";
    let config = parse(text).unwrap();
    let database = config.database(Path::new("/data/a/b.db")).unwrap();
    assert_eq!(database.replicas[0].location.to_string(), "s3://b/tenants/a/b.db");
    assert_eq!(database.replicas[0].retention, Duration::from_hours(1));
    assert_eq!(config.database(Path::new("/data/a/b.sqlite")), None);
}

#[test]
fn reads_the_rest() {
    let text = "addr: :9090\nexec: a 'b c'\nshutdown-timeout: 1m\n\
                logging: {level: WARNING, type: json, stderr: yes}\n";
    let config = parse(text).unwrap();
    assert_eq!(config.address.as_deref(), Some(":9090"));
    assert_eq!(config.exec, Some(vec!["a".to_owned(), "b c".to_owned()]));
    assert_eq!(config.shutdown_timeout, Duration::from_mins(1));
    let logging = LoggingOptions { level: Level::Warn, format: LogFormat::Json, stderr: true };
    assert_eq!(config.logging, logging);
    for empty in ["", "# nothing\n", "dbs:\n", "dbs: []\nlogging:\naddr: ''\n"] {
        assert_eq!(parse(empty).unwrap().sources.databases, [], "{empty:?}");
    }
}

#[test]
fn arguments_name_their_replicas() {
    let urls = ["file:///a", "file:///b", "s3://c"].map(str::to_owned);
    let config = Config::of_database("/db", &urls).unwrap();
    let names: Vec<&str> =
        config.sources.databases[0].replicas.iter().map(|replica| replica.name.as_str()).collect();
    assert_eq!(names, ["file", "file-2", "s3"]);
}
