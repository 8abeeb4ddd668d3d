//! Inputs that the fuzzer found worth keeping, and inputs that are made to exhaust a reader.
//!
//! The tests of the state files, which only `replicate` can reach, are in `src/replicate/fuzz.rs`.

mod bombs;
#[path = "../../fuzz/entries/mod.rs"]
mod entries;

use std::fs;
use std::path::Path;

/// The function that is called with the bytes of a file.
type Entry = fn(&[u8]);

#[test]
fn every_file_of_the_corpus_is_read_or_refused() {
    let entries: [(&str, Entry); 7] = [
        ("config", entries::config),
        ("listing", entries::listing),
        ("names", entries::names),
        ("object", entries::object),
        ("restore", entries::restore),
        ("url", entries::url),
        ("wal", entries::wal),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, entry) in entries {
        let files: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().collect();
        assert!(!files.is_empty(), "{name} has a corpus");
        for file in files {
            entry(&fs::read(file.unwrap().path()).unwrap());
        }
    }
    // Also check that a fault in each of them is noticed.
    for name in ["object", "restore", "wal"] {
        for file in fs::read_dir(corpus.join(name)).unwrap() {
            let good = fs::read(file.unwrap().path()).unwrap();
            let entry = entries.iter().find(|(of, _)| *of == name).unwrap().1;
            for at in (0..good.len()).step_by(good.len() / 40 + 1) {
                let mut bad = good.clone();
                bad[at] ^= 0x11;
                entry(&bad);
                entry(&good[..at]);
            }
        }
    }
}
