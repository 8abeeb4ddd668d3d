use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use twox_hash::XxHash3_64;

use super::durable::{Durability, replace_file};

/// Prefixes of the tables that SQLite or Litestream makes in any database.
const OF_NO_APPLICATION: [&str; 2] = ["sqlite_", "_litestream_"];

/// The tables of a database, by the hashes of their names: which application it belongs to.
///
/// The content of a database that was changed while nobody watched may have nothing in common with
/// what it was. But an application keeps its tables; the file of another application has others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tables(BTreeSet<u64>);

impl Tables {
    pub(super) fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let of_application =
            |name: &&str| !OF_NO_APPLICATION.iter().any(|prefix| name.starts_with(prefix));
        let names = names.into_iter().filter(of_application);
        Self(names.map(|name| XxHash3_64::oneshot(name.as_bytes())).collect())
    }

    /// Reads what an earlier process wrote. Empty, if that cannot be read.
    pub(super) fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let hashes: Result<_, _> = text.lines().map(|line| u64::from_str_radix(line, 16)).collect();
        hashes.map(Self).unwrap_or_default()
    }

    /// Writes them for the next process. A loss of power may leave the previous ones.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        let mut text = String::new();
        for hash in &self.0 {
            let _ = writeln!(text, "{hash:016x}");
        }
        replace_file(path, text.as_bytes(), Durability::Process)
    }

    /// Whether a database with these tables belongs to another application than one that had
    /// `before`: most of those are gone.
    pub(super) fn are_others_than(&self, before: &Self) -> bool {
        2 * self.0.intersection(&before.0).count() < before.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_goes_on_with_most_of_its_tables() {
        let check = |before: &[&str], now: &[&str], others: bool| {
            let [before, now] = [before, now].map(|names| Tables::named(names.iter().copied()));
            assert_eq!(now.are_others_than(&before), others, "{before:?} {now:?}");
        };
        check(&["users", "posts"], &["users", "posts", "tags"], false);
        check(&["users", "posts"], &["users"], false);
        check(&["users", "posts", "tags"], &["users"], true);
        check(&["users"], &["orders"], true);
        check(&["users"], &[], true);
        check(&[], &["users"], false);
        check(&["users", "_litestream_seq", "sqlite_stat1"], &["_litestream_seq"], true);
        check(&["_litestream_seq"], &["orders"], false);
    }

    #[test]
    fn are_known_to_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tables");
        assert_eq!(Tables::load(&path), Tables::default());
        let tables = Tables::named(["users", "two\nlines"]);
        tables.store(&path).unwrap();
        assert_eq!(Tables::load(&path), tables);
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(Tables::load(&path), Tables::default());
    }
}
