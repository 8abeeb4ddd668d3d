use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use super::durable::{Durability, read_text, remove, replace_file};
use crate::format::Generation;

/// The generations that were captured from one database file, in their order.
///
/// Kept beside the database; what is in a replica and not here is the history of another database.
#[derive(Debug)]
pub(super) struct Lineage {
    path: PathBuf,
    generations: Vec<Generation>,
}

impl Lineage {
    /// Reads what an earlier process wrote.
    pub(super) fn load(path: PathBuf) -> io::Result<Self> {
        let text = read_text(&path)?.unwrap_or_default();
        let generations = text.lines().filter_map(|line| line.parse().ok()).collect();
        Ok(Self { path, generations })
    }

    pub(super) fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// Adds a generation, before any replica gets something of it: after a crash, and after a loss
    /// of power, it is known to be ours.
    pub(super) fn add(&mut self, generation: Generation) -> io::Result<()> {
        if self.generations.contains(&generation) {
            return Ok(());
        }
        self.generations.push(generation);
        self.store()
    }

    /// Writes the lineage to disk, or again if what was there was lost.
    pub(super) fn store(&self) -> io::Result<()> {
        let mut text = String::new();
        for generation in &self.generations {
            let _ = writeln!(text, "{generation}");
        }
        replace_file(&self.path, text.as_bytes(), Durability::Power)
    }

    /// Forgets all generations: the database is another one now, and descends from none of them.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.generations.clear();
        remove(&self.path)
    }

    /// Sets the generations: the database is again the one that descends from these.
    pub(super) fn begin_again(&mut self, generations: Vec<Generation>) -> io::Result<()> {
        self.generations = generations;
        self.store()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_known_to_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lineage");
        let [first, second] = [1, 2].map(Generation::from_bits);
        let mut lineage = Lineage::load(path.clone()).unwrap();
        for generation in [first, second, first] {
            lineage.add(generation).unwrap();
        }
        let mut lineage = Lineage::load(path.clone()).unwrap();
        assert_eq!(lineage.generations(), [first, second]);
        lineage.end().unwrap();
        assert!(Lineage::load(path).unwrap().generations().is_empty());
    }
}
