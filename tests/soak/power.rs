//! What is left of files after a loss of power. tests/README.md explains the model.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The bytes that a disk writes wholly or not at all.
const SECTOR: usize = 512;

/// The files that the daemon syncs each time that it writes them, or when it matters.
const SYNCED: [&str; 4] = ["fork", "lineage", "restored", "sent"];

/// Loses some of what was written below `directory` since it was last synced. `synced` is a copy
/// from that time.
pub(crate) fn lose_tree(
    directory: &Path,
    synced: &Path,
    random: &mut fastrand::Rng,
) -> io::Result<()> {
    let mut names = BTreeSet::new();
    for tree in [directory, synced] {
        let files = files(tree)?;
        names.extend(
            files.iter().filter_map(|path| path.strip_prefix(tree).ok().map(PathBuf::from)),
        );
    }
    let is_synced = |name: &PathBuf| SYNCED.iter().any(|synced| name.ends_with(synced));
    for name in names.into_iter().filter(|name| !is_synced(name)) {
        let path = directory.join(&name);
        let [written, synced] = [read(&path)?, read(&synced.join(&name))?];
        match remains(written, synced, random) {
            None => remove(&path)?,
            Some(content) => {
                fs::create_dir_all(path.parent().unwrap_or(directory))?;
                // Staged segments have several names, which are torn one by one.
                remove(&path)?;
                fs::write(&path, content)?;
            }
        }
    }
    Ok(())
}

/// Loses the contents of incomplete files of a replica.
pub(crate) fn lose_partial_objects(replica: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
    for path in files(replica)? {
        if path.extension().is_some_and(|extension| extension == "tmp") {
            match remains(read(&path)?, None, random) {
                None => remove(&path)?,
                Some(content) => fs::write(&path, content)?,
            }
        }
    }
    Ok(())
}

/// What is left of a file: all, what it was when it was synced, or some blocks of either. Blocks
/// that were never written are zero.
fn remains(
    written: Option<Vec<u8>>,
    synced: Option<Vec<u8>>,
    random: &mut fastrand::Rng,
) -> Option<Vec<u8>> {
    if written == synced {
        return written;
    }
    match random.u32(..4) {
        0 => return written,
        1 => return synced,
        _ => (),
    }
    let (written, synced) = (written.unwrap_or_default(), synced.unwrap_or_default());
    let longest = written.len().max(synced.len());
    let length = [written.len(), synced.len(), random.usize(..=longest)][random.usize(..3)];
    let block = [SECTOR, 4096][random.usize(..2)];
    let mut content = vec![0; length];
    for (at, block) in content.chunks_mut(block).enumerate().map(|(n, bytes)| (n * block, bytes)) {
        let source = [&written, &synced][random.usize(..2)];
        let there = source.len().saturating_sub(at).min(block.len());
        block[..there].copy_from_slice(&source[at.min(source.len())..][..there]);
    }
    Some(content)
}

/// Loses a part of a log that SQLite has not synced: its end, and sectors before that.
///
/// What was to be copied into the database file was synced before; the `-shm` file says how far
/// that is. It no longer exists after a start.
pub(crate) fn lose_log(database: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
    let [log, index] = ["db-wal", "db-shm"].map(|suffix| database.with_extension(suffix));
    let kept = match (read(&log)?, read(&index)?) {
        (Some(log), Some(index)) => synced_bytes(&log, &index),
        _ => None,
    };
    remove(&index)?;
    let Some(kept) = kept else { return Ok(()) };
    let file = File::options().write(true).open(&log)?;
    let sector = SECTOR as u64;
    let sectors = kept.div_ceil(sector)..file.metadata()?.len().div_ceil(sector);
    if sectors.is_empty() {
        return Ok(());
    }
    for _ in 0..random.u32(..3) {
        file.write_all_at(&[0; SECTOR], random.u64(sectors.clone()) * sector)?;
    }
    if random.bool() {
        file.set_len(random.u64(sectors) * sector)?;
    }
    Ok(())
}

/// How much of a log is kept in any case. `None` means all of it, because the index belongs to the
/// next log, and this one is in the database.
fn synced_bytes(log: &[u8], index: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(u32::from_ne_bytes(index.get(at..at + 4)?.try_into().ok()?));
    let (header, copy) = (index.get(..48)?, index.get(48..96)?);
    // Both copies must contain the salt of the log.
    if header != copy || header[32..40] != *log.get(16..24)? {
        return None;
    }
    let page_size = u32::from_be_bytes(log.get(8..12)?.try_into().ok()?);
    let (backfilled, attempted) = (number(96)?, number(128)?);
    Some(32 + u64::from(backfilled.max(attempted)) * (u64::from(page_size) + 24))
}

/// The files below a directory, if there is one.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut left) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries: io::Result<Vec<_>> = fs::read_dir(path)?.collect();
            left.extend(entries?.iter().map(fs::DirEntry::path));
        } else if path.exists() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.exists() { fs::remove_file(path) } else { Ok(()) }
}
