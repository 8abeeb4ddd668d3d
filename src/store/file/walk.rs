use std::fs::{self, DirEntry, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

use super::failure::failure;
use super::partial;
use crate::store::{Object, Result};

/// Whether nothing exists under a name, perhaps because a directory above it is missing.
pub(super) fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// The files below `root` whose paths begin with `prefix`, which may end within a name.
pub(super) fn objects(root: &Path, prefix: &str) -> Result<Vec<Object>> {
    let parent = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
    let mut objects = Vec::new();
    collect(root, parent, prefix, &mut objects)?;
    objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

/// Adds the files below `root/parent`, where `parent` is empty or ends in a slash.
fn collect(root: &Path, parent: &str, prefix: &str, objects: &mut Vec<Object>) -> Result<()> {
    for (name, metadata) in entries(&root.join(parent))? {
        let key = format!("{parent}{name}");
        let inside = key.starts_with(prefix);
        if metadata.is_dir() && inside {
            collect(root, &format!("{key}/"), prefix, objects)?;
        } else if metadata.is_file() && inside && !name.ends_with(partial::SUFFIX) {
            let failed = |error| failure("read the time of", &root.join(&key), &error);
            let created = metadata.modified().map_err(failed)?;
            objects.push(Object { size: metadata.len(), created, key });
        }
    }
    Ok(())
}

/// The keys of objects below `root/parent` that were never completed, and were last written to
/// before `time`. `parent` is empty or ends in a slash.
pub(super) fn left_overs(root: &Path, parent: &str, time: SystemTime) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for (name, _) in entries(&root.join(parent))? {
        let key = format!("{parent}{name}");
        // What a link leads to is not ours.
        let Ok(metadata) = fs::symlink_metadata(root.join(&key)) else { continue };
        let is_old = || metadata.modified().is_ok_and(|written| written < time);
        if metadata.is_dir() {
            keys.extend(left_overs(root, &format!("{key}/"), time)?);
        } else if let Some(key) = key.strip_suffix(partial::SUFFIX)
            && metadata.is_file()
            && is_old()
        {
            keys.push(key.to_owned());
        }
    }
    Ok(keys)
}

/// The names of the directories in `directory`.
pub(super) fn directories(directory: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = entries(directory)?
        .into_iter()
        .filter_map(|(name, metadata)| metadata.is_dir().then_some(name))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// What is in `directory`; nothing if it does not exist. Names that are not UTF-8 are not ours.
fn entries(directory: &Path) -> Result<Vec<(String, Metadata)>> {
    let failed = |error: &io::Error| failure("list", directory, error);
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut entries = Vec::new();
    for entry in listing {
        entries.extend(entry.and_then(|entry| named(&entry)).map_err(|error| failed(&error))?);
    }
    Ok(entries)
}

/// The name and metadata of an entry. `None` if it was removed while the directory was being
/// listed, or if its name is not UTF-8.
fn named(entry: &DirEntry) -> io::Result<Option<(String, Metadata)>> {
    let Ok(name) = entry.file_name().into_string() else {
        return Ok(None);
    };
    match fs::metadata(entry.path()) {
        Ok(metadata) => Ok(Some((name, metadata))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
