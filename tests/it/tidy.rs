//! Checks the code against its own rules: which layer may use which, what may be named where, and
//! how large things may get.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// Which layers of the crate a layer may use.
const ARROWS: [(&str, &[&str]); 15] = [
    ("exclusive", &[]),
    ("failpoint", &[]),
    ("format", &[]),
    ("provenance", &["format"]),
    ("utc", &[]),
    ("wal", &[]),
    ("sqlite", &["failpoint", "wal"]),
    ("store", &["exclusive", "failpoint"]),
    ("catalog", &["format", "store"]),
    (
        "replicate",
        &["failpoint", "format", "provenance", "utc", "wal", "sqlite", "store", "catalog"],
    ),
    (
        "restore",
        &[
            "exclusive",
            "failpoint",
            "format",
            "provenance",
            "utc",
            "wal",
            "sqlite",
            "store",
            "catalog",
        ],
    ),
    ("verify", &["format", "wal", "sqlite", "store", "catalog", "restore"]),
    (
        "validate",
        &["format", "utc", "wal", "sqlite", "store", "catalog", "replicate", "restore", "verify"],
    ),
    ("config", &["replicate", "sqlite", "store"]),
    (
        "cli",
        &[
            "format",
            "utc",
            "sqlite",
            "store",
            "catalog",
            "replicate",
            "restore",
            "validate",
            "verify",
            "config",
        ],
    ),
];

/// Below which paths a word may occur in the code. A word that ends in `_` is a prefix.
const PLACES: [(&str, &[&str]); 9] = [
    ("aws_", &["src/store/s3"]),
    ("axum", &["src/cli/serve.rs"]),
    ("clap", &["src/cli/"]),
    ("lz4_flex", &["src/format/lz4"]),
    ("prometheus", &["src/replicate/metrics"]),
    ("rusqlite", &["src/sqlite/"]),
    ("serde", &["src/config/"]),
    ("serde_json", &["src/cli/"]),
    ("serde_yaml", &["src/config/"]),
];

/// Layers of pure values and bytes, which must not use files, threads, clocks, randomness, tasks
/// or logs.
const PURE: [&str; 2] = ["format", "wal"];
const IMPURE: [&str; 11] = [
    "env", "fastrand", "File", "fs", "Instant", "net", "now", "rustix", "thread", "tokio",
    "tracing",
];

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

#[test]
fn layers_use_only_those_below_them() {
    // A simulation may check one part against another, and is not part of the program.
    let of_program = |source: &&Source| !source.path.ends_with("/simulation.rs");
    expect_none(sources("src").iter().filter(of_program).flat_map(|source| {
        let used = source.uses();
        let allowed = ARROWS.iter().find(|(layer, _)| *layer == source.layer());
        used.into_iter().filter_map(move |used| {
            let (layer, below) = allowed?;
            (used != *layer && !below.contains(&used.as_str()))
                .then(|| format!("{} uses `{used}`, which `{layer}` may not", source.path))
        })
    }));
}

#[test]
fn crates_are_named_only_where_they_belong() {
    expect_none(sources("src").iter().flat_map(|source| {
        let words = source.words();
        PLACES.iter().filter_map(move |(word, places)| {
            let named = words.iter().any(|found| match word.strip_suffix('_') {
                Some(_) => found.starts_with(word),
                None => found == word,
            });
            let belongs = places.iter().any(|place| source.path.starts_with(place));
            (named && !belongs)
                .then(|| format!("{} names `{word}`, which belongs to {places:?}", source.path))
        })
    }));
}

#[test]
fn values_and_bytes_need_nothing_of_the_world() {
    let pure = |source: &Source| PURE.contains(&source.layer());
    expect_none(sources("src").into_iter().filter(pure).flat_map(|source| {
        let words = source.words();
        let impure = IMPURE.iter().filter(move |word| words.contains(**word));
        impure.map(move |word| format!("{} names `{word}`", source.path))
    }));
}

#[test]
fn no_file_is_forgotten() {
    let all = ["src", "tests/it", "tests/accidents", "tests/rogue"].into_iter().flat_map(sources);
    expect_none(all.filter_map(|source| {
        let (parent, module) = source.parent()?;
        let text = fs::read_to_string(root().join(&parent)).unwrap_or_default();
        let declared = text.lines().any(|line| {
            line.strip_suffix(';').is_some_and(|line| line.ends_with(&format!("mod {module}")))
        });
        (!declared).then(|| format!("{} is not declared in {parent}", source.path))
    }));
}

#[test]
fn files_are_small_and_finished() {
    let all = ["src", "examples", "benches", "fuzz"].into_iter().flat_map(sources);
    expect_none(all.flat_map(|source| {
        let mut found = Vec::new();
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{} has {lines} lines, and may have {LINES_MAX}", source.path));
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            let place = format!("{}:{number}", source.path);
            // Texts are not broken into lines, so that they can be searched for.
            if line.chars().count() > COLUMNS_MAX && !line.contains('"') {
                found.push(format!("{place} is longer than {COLUMNS_MAX} columns"));
            }
            if ["TODO", "FIXME"].iter().any(|mark| line.contains(mark)) {
                found.push(format!("{place} is not finished"));
            }
        }
        found
    }));
}

fn expect_none(violations: impl Iterator<Item = String>) {
    let violations: Vec<String> = violations.collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// A file of code. Its path is relative to the package.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The first module in the path of the file.
    fn layer(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or_default();
        path.split(['/', '.']).next().unwrap_or_default()
    }

    /// The modules at the root of the crate that the file names, by `crate` or by `super`.
    fn uses(&self) -> BTreeSet<String> {
        let mut uses = BTreeSet::new();
        roots(self.tokens(), self.depth(), &mut uses);
        uses
    }

    /// All identifiers in the file. Comments and texts have none.
    fn words(&self) -> BTreeSet<String> {
        fn collect(tokens: TokenStream, words: &mut BTreeSet<String>) {
            for token in tokens {
                match token {
                    TokenTree::Group(group) => collect(group.stream(), words),
                    TokenTree::Ident(word) => drop(words.insert(word.to_string())),
                    _ => (),
                }
            }
        }
        let mut words = BTreeSet::new();
        collect(self.tokens(), &mut words);
        words
    }

    fn tokens(&self) -> TokenStream {
        self.text.parse().unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }

    /// How many `super` lead from the file to the root of the crate.
    fn depth(&self) -> usize {
        let path = self.path.strip_suffix("/mod.rs").unwrap_or(&self.path);
        path.matches('/').count()
    }

    /// The file that declares this one as a module, and the name of the module. `None` for a root.
    fn parent(&self) -> Option<(String, String)> {
        let path = self.path.strip_suffix("/mod.rs").or(self.path.strip_suffix(".rs"))?;
        let (directory, module) = path.rsplit_once('/')?;
        let candidates: &[String] = match directory {
            "src" if ["lib", "main"].contains(&module) => return None,
            "tests/it" | "tests/accidents" if module == "main" => return None,
            "src" => &["src/lib.rs".to_owned()],
            "tests/it" | "tests/accidents" => &[format!("{directory}/main.rs")],
            // What several test binaries share.
            "tests" => &["tests/it/main.rs".to_owned()],
            _ => &[format!("{directory}.rs"), format!("{directory}/mod.rs")],
        };
        let parent = candidates.iter().find(|path| root().join(path).exists());
        Some((parent.unwrap_or(&candidates[0]).clone(), module.to_owned()))
    }
}

/// Collects what follows `crate::` in paths, or as many `super::` as lead to the root.
fn roots(tokens: TokenStream, depth: usize, uses: &mut BTreeSet<String>) {
    let (mut climbed, mut declared) = (0, 0);
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "crate" => climbed = depth,
            TokenTree::Ident(word) if word == "super" => climbed += 1,
            // In `mod name { }`, the group is two tokens on, and there is one more level to climb.
            TokenTree::Ident(word) if word == "mod" => declared = 3,
            TokenTree::Ident(word) if climbed >= depth => {
                uses.insert(word.to_string());
                climbed = 0;
            }
            TokenTree::Group(group) if climbed >= depth => {
                uses.extend(heads(group.stream()));
                climbed = 0;
            }
            TokenTree::Group(group) => roots(group.stream(), depth + declared.min(1), uses),
            TokenTree::Punct(punct) if punct.as_char() == ':' => continue,
            _ => climbed = 0,
        }
        declared = declared.saturating_sub(1);
    }
}

/// The first word of each path in a list.
fn heads(list: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = list.into_iter().collect();
    let paths = tokens.split(|token| token.to_string() == ",");
    paths.filter_map(|path| path.first().map(ToString::to_string)).collect()
}

/// The files of code below a directory of the package.
fn sources(directory: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut left = vec![root().join(directory)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            sources.push(Source { path, text });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
