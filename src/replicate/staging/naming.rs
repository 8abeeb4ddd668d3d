use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Staging, read_directory};
use crate::replicate::durable::{Durability, read_text, replace_file, sync_parent};

impl Staging {
    /// The staging directory of the replica at `place`, whatever its name, in a state directory.
    pub(in crate::replicate) fn at_place(state: &Path, place: &str) -> io::Result<Option<Self>> {
        for entry in read_directory(&state.join("staging"))? {
            let found = Self { root: entry.path(), notes: Arc::default() };
            if found.place()?.as_deref() == Some(place) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where the replica is, as last noted.
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

    /// Takes over all that is kept under another name. There must be nothing under this one.
    pub(in crate::replicate) fn take_over(&self, former: &Self) -> io::Result<()> {
        fs::rename(&former.root, &self.root)?;
        sync_parent(&self.root)
    }

    /// Gives what is kept under this name a name that no replica has.
    pub(in crate::replicate) fn set_aside(&self) -> io::Result<()> {
        let aside = (0..).map(|number| self.root.with_extension(format!("aside-{number}")));
        match aside.into_iter().find(|aside| !aside.exists()) {
            Some(aside) if self.root.exists() => fs::rename(&self.root, aside),
            _ => Ok(()),
        }
    }
}

/// The directory name for a replica. Its own name may be anything, but this must be one part of a
/// path.
pub(super) fn directory_name(replica: &str) -> String {
    format!("{}.replica", replica.replace('%', "%25").replace('/', "%2f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_a_replica_is_found_by_its_place() {
        let state = tempfile::tempdir().unwrap();
        let staging = |name| Staging::new(state.path(), name);
        for name in ["near", "a/b", "100%", "%2f"] {
            staging(name).note_place(name).unwrap();
            assert_eq!(staging(name).place().unwrap().as_deref(), Some(name));
        }
        let former = Staging::at_place(state.path(), "a/b").unwrap().unwrap();
        staging("near").set_aside().unwrap();
        staging("near").take_over(&former).unwrap();
        assert_eq!(staging("near").place().unwrap().as_deref(), Some("a/b"));
        assert_eq!(staging("a/b").place().unwrap(), None);
        let aside = Staging::at_place(state.path(), "near").unwrap().unwrap();
        staging("far").take_over(&aside).unwrap();
        staging("none").set_aside().unwrap();
        assert!(Staging::at_place(state.path(), "none").unwrap().is_none());
    }
}
