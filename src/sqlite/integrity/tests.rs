use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::*;

/// A database on which SQL was run, with some of its schema replaced after that.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new(sql: &str, replaced: &[(&str, &str)]) -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        let connection = Connection::open(scratch.path()).unwrap();
        connection.execute_batch(sql).unwrap();
        connection.pragma_update(None, "writable_schema", true).unwrap();
        for (from, to) in replaced {
            let sql = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?)";
            connection.execute(sql, [from, to]).unwrap();
        }
        scratch
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("app.db")
    }

    /// Where the b-tree of that name begins.
    fn page_of(&self, name: &str) -> u64 {
        let connection = Connection::open(self.path()).unwrap();
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?";
        let page: i64 = connection.query_row(sql, [name], |row| row.get(0)).unwrap();
        4096 * u64::try_from(page - 1).unwrap()
    }

    fn overwrite(&self, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.path()).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    fn expect_unchecked(&self, expected: &[&str]) {
        let unchecked = integrity_check(&self.path()).unwrap();
        assert_eq!(unchecked.len(), expected.len(), "{unchecked:?}");
        for (found, expected) in unchecked.iter().zip(expected) {
            assert!(found.starts_with(expected), "{expected}: {unchecked:?}");
        }
        quick_check(&self.path()).unwrap();
    }

    fn expect_damage(&self) {
        let found = integrity_check(&self.path());
        assert!(found.is_err(), "{found:?}");
        let found = quick_check(&self.path());
        assert!(found.is_err(), "{found:?}");
    }
}

/// Rows that no stand-in puts in the order of NOCASE.
const ROWS: &str = "
    CREATE TABLE plain (x TEXT); CREATE INDEX plain_x ON plain (x);
    CREATE TABLE own (x TEXT COLLATE NOCASE UNIQUE, y TEXT);
    CREATE TABLE keyed (x TEXT COLLATE NOCASE PRIMARY KEY, y UNIQUE) WITHOUT ROWID;
    INSERT INTO own WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        SELECT CASE WHEN i % 2 THEN 'a' ELSE 'B' END || i, 'text' FROM n;
    INSERT INTO keyed SELECT x, x FROM own;
    INSERT INTO plain SELECT x FROM own;";

const ICU: (&str, &str) = ("NOCASE", "icu_root");

/// SQLite refused to check anything, and that was taken for damage: the replica counted as failing,
/// and nothing expired from it any more.
#[test]
fn a_collation_that_only_the_application_has_is_no_damage() {
    Scratch::new(ROWS, &[]).expect_unchecked(&[]);
    Scratch::new(ROWS, &[ICU]).expect_unchecked(&[
        "own (no such collation sequence: icu_root",
        "keyed (no such collation sequence: icu_root",
    ]);
}

#[test]
fn a_function_that_only_the_application_has_is_no_damage() {
    let functions = [("abs(", "\"its own\"("), ("upper(", "folded("), ("lower(", "parted(")];
    let scratch = Scratch::new(
        &format!(
            "{ROWS} ALTER TABLE own ADD COLUMN z TEXT NOT NULL AS (upper(x)) VIRTUAL;
             CREATE TABLE checked (x CHECK (length(x)), y TEXT); INSERT INTO checked VALUES (1, 2);
             CREATE INDEX of_function ON own (abs(y));
             CREATE INDEX of_part ON plain (x) WHERE lower(x) > 'a'"
        ),
        &[functions[0], functions[1], functions[2], ("length(", "measured(")],
    );
    scratch.expect_unchecked(&["plain (unknown function: parted()", "own (unknown function: "]);
}

#[test]
fn a_tokenizer_that_only_the_application_has_is_no_damage() {
    let sql = format!(
        "{ROWS} CREATE VIRTUAL TABLE docs USING fts5(x, tokenize = 'porter');
         INSERT INTO docs VALUES ('some words')"
    );
    let tokenizer = ("porter", "stemmer");
    let scratch = Scratch::new(&sql, &[tokenizer, ICU]);
    scratch.expect_unchecked(&["pages that belong to nothing (", "own (", "keyed (", "docs ("]);
    scratch.overwrite(scratch.page_of("own") + 8, &[0xff; 16]);
    scratch.expect_damage();
}

#[test]
fn damage_is_found_beside_what_cannot_be_checked() {
    for own in ["own", "keyed", "sqlite_autoindex_own_1", "plain", "plain_x"] {
        let scratch = Scratch::new(ROWS, &[ICU]);
        scratch.overwrite(scratch.page_of(own) + 8, &[0xff; 16]);
        scratch.expect_damage();
    }
    // Pages that belong to nothing.
    let lost = Scratch::new(ROWS, &[ICU]);
    Connection::open(lost.path())
        .unwrap()
        .execute_batch(
            "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'plain_x'",
        )
        .unwrap();
    lost.expect_damage();
    // Only the full check looks whether an index is in its order.
    let index = ("plain_x ON plain (x)", "plain_x ON plain (x DESC)");
    let disordered = Scratch::new(ROWS, &[ICU, index]);
    let error = integrity_check(&disordered.path()).unwrap_err().to_string();
    assert!(error.contains("missing from index plain_x"), "{error}");
    quick_check(&disordered.path()).unwrap();
}
