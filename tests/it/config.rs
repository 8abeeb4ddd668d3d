//! Where the binary finds its configuration, and how it reports mistakes in it.

use crate::cli::litestream;

const GOOD: &str = "dbs: [{path: /no/db, replicas: [{path: /no/$NAME}]}]\n";

/// Lists the databases, with these files, environment variables and arguments.
fn databases(files: &[(&str, &str)], variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    let mut command = litestream(home.path());
    command.envs(variables.iter().copied()).arg("databases").args(arguments);
    let output = command.output().unwrap();
    let home = format!("{}/", home.path().display());
    let stderr = String::from_utf8(output.stderr).unwrap().replace(&home, "");
    assert_eq!(output.status.success(), stderr.is_empty(), "{stderr}");
    assert_eq!(output.stdout.is_empty(), !stderr.is_empty(), "{stderr}");
    stderr
}

#[test]
fn is_named_by_option_then_by_environment() {
    let files = [("good.yml", GOOD), ("bad.yml", "dbs: [\n")];
    let name = ("NAME", "r");
    assert_eq!(databases(&files, &[name], &["-config", "good.yml"]), "");
    assert_eq!(databases(&files, &[name, ("LITESTREAM_CONFIG", "good.yml")], &[]), "");
    let both = [name, ("LITESTREAM_CONFIG", "bad.yml")];
    assert_eq!(databases(&files, &both, &["-config", "good.yml"]), "");
    let missing = "config file not found: none.yml; name one with -config PATH or in \
                   $LITESTREAM_CONFIG";
    let found = databases(&files, &[], &["-config", "none.yml"]);
    assert_eq!(found, format!("error: {missing}\n"));
}

#[test]
fn variables_come_from_the_environment() {
    let files = [("good.yml", GOOD)];
    assert_eq!(databases(&files, &[], &["-config", "good.yml", "-no-expand-env"]), "");
    assert_eq!(
        databases(&files, &[], &["-config", "good.yml"]),
        "error: good.yml:1:40: `path`: the environment variable NAME is not set; set it, or write \
         `${NAME:-default}`, or `$$` if a dollar sign is meant\n"
    );
}

#[test]
fn mistakes_are_reported_with_file_line_and_column() {
    for (text, expected) in [
        (
            "dbs:\n  - pth: /db\n",
            "c.yml:2:5: unknown key `pth` in a database; did you mean `path`?",
        ),
        ("dbs:\n  - path: /db\n   replicas: []\n", "c.yml:3:4: "),
        ("addr: localhost\n", "c.yml:1:7: must specify port for bind address: \"localhost\""),
        ("\t\n", "c.yml:1:1: "),
    ] {
        let found = databases(&[("c.yml", text)], &[], &["-config", "c.yml"]);
        assert!(found.starts_with(&format!("error: {expected}")), "{text:?}: {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}
