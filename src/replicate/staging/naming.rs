use std::fs;
use std::io;
use std::path::Path;

use super::{Staging, read_directory};
use crate::replicate::durable::{Durability, read_text, replace_file, sync_parent};

impl Staging {
    /// The names of all replicas for which there is something in a state directory.
    pub(in crate::replicate) fn names(state: &Path) -> io::Result<Vec<String>> {
        let entries = read_directory(&state.join("staging"))?;
        let name = |entry: &fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_suffix(".replica")?;
            Some(name.replace("%2f", "/").replace("%25", "%"))
        };
        Ok(entries.iter().filter_map(name).collect())
    }

    pub(in crate::replicate) fn exists(&self) -> bool {
        self.root.exists()
    }

    /// Where the replica is, as it was noted.
    pub(in crate::replicate) fn place(&self) -> io::Result<Option<String>> {
        let text = read_text(&self.root.join("place"))?;
        Ok(text.map(|text| text.trim_end().to_owned()))
    }

    /// Takes note of where the replica is.
    pub(in crate::replicate) fn note_place(&self, place: &str) -> io::Result<()> {
        if self.place()?.as_deref() == Some(place) {
            return Ok(());
        }
        fs::create_dir_all(&self.root)?;
        replace_file(&self.root.join("place"), format!("{place}\n").as_bytes(), Durability::Process)
    }

    /// Takes over all that is of the replica that had another name.
    pub(in crate::replicate) fn take_over(&self, former: &str) -> io::Result<()> {
        fs::rename(self.root.with_file_name(directory_name(former)), &self.root)?;
        sync_parent(&self.root)
    }
}

/// A name may be anything; as the name of a directory it must be one part of a path.
pub(super) fn directory_name(replica: &str) -> String {
    format!("{}.replica", replica.replace('%', "%25").replace('/', "%2f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_a_replica_is_found_under_its_name() {
        let state = tempfile::tempdir().unwrap();
        let names = ["near", "a/b", "100%", "%2f"];
        for name in names {
            Staging::new(state.path(), name).note_place(name).unwrap();
        }
        let mut found = Staging::names(state.path()).unwrap();
        found.sort_by_key(|found| names.iter().position(|name| name == found));
        assert_eq!(found, names);
        let far = Staging::new(state.path(), "far");
        assert!(!far.exists());
        far.take_over("a/b").unwrap();
        assert_eq!(far.place().unwrap().as_deref(), Some("a/b"));
        assert!(!Staging::new(state.path(), "a/b").exists());
    }
}
