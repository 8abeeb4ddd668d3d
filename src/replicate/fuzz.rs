//! Reads any bytes as what an earlier process left, for the fuzzer.

use std::fs;
use std::path::Path;

use twox_hash::XxHash3_64;

use super::cursor::{Cursor, Saved};
use super::pages::PageTable;

/// Reads a cursor, an empty line, and a table of pages.
///
/// Then reads them again with the signature of the cursor made right: otherwise hardly any cursor
/// would be accepted.
pub fn state(directory: &Path, data: &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let (cursor, table) = data.split_at(end);
    let table = table.get(2..).unwrap_or_default();
    load(directory, cursor, table);
    if let Ok(cursor) = std::str::from_utf8(cursor) {
        load(directory, signed(cursor).as_bytes(), table);
    }
}

#[expect(clippy::unwrap_used, reason = "a panic is what the fuzzer looks for")]
fn load(directory: &Path, cursor: &[u8], table: &[u8]) {
    let path = directory.join("cursor");
    fs::write(&path, cursor).unwrap();
    let Some(saved) = Saved::load(&path).unwrap() else { return };
    // A cursor that was accepted is written as it was read.
    saved.store(&path, super::durable::Durability::Process).unwrap();
    let again = Saved::load(&path).unwrap();
    assert_eq!(again.map(|again| again.cursor).as_ref(), Some(&saved.cursor));
    follow(directory, &saved.cursor, table);
}

/// Opens the table, and takes note of a transaction.
#[expect(clippy::unwrap_used, reason = "a panic is what the fuzzer looks for")]
fn follow(directory: &Path, cursor: &Cursor, table: &[u8]) {
    let path = directory.join("pages");
    fs::write(&path, table).unwrap();
    let &Cursor { generation, page_size, pages, .. } = cursor;
    let Some(mut table) = PageTable::open(&path, generation, page_size, pages).unwrap() else {
        return;
    };
    let page = vec![1; page_size.bytes()];
    let last = pages.saturating_add(1);
    table.update(last, &page).unwrap();
    table.commit(last).unwrap();
    assert!(table.holds(last, &page).unwrap());
    let digest = table.digest();
    table.sum().unwrap();
    assert_eq!(table.digest(), digest);
    table.end_of_log().unwrap();
}

fn signed(cursor: &str) -> String {
    let end = cursor.rfind("signature ").unwrap_or(cursor.len());
    let text = format!("{}\n", cursor[..end].trim_end());
    let signature = XxHash3_64::oneshot(text.as_bytes());
    format!("{text}signature {signature:016x}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_everything_that_was_found_worth_keeping() {
        let directory = tempfile::tempdir().unwrap();
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/state");
        let files: Vec<_> = fs::read_dir(corpus).unwrap().collect();
        assert!(!files.is_empty());
        for file in files {
            state(directory.path(), &fs::read(file.unwrap().path()).unwrap());
        }
    }
}
