use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use super::Staging;
use crate::format::Generation;
use crate::replicate::durable::{Durability, read_text, remove, replace_file};

impl Staging {
    /// Goes back from a fork to the replica itself, whose place its database is to take, because
    /// somebody has decided that. What the fork holds expires from now on.
    ///
    /// After a crash in between it is still written to, and decided once more.
    pub(in crate::replicate) fn decide_fork(&self, now: SystemTime) -> io::Result<()> {
        if let Some(fork) = self.fork()? {
            let mut decided = self.decided_forks()?;
            decided.insert(fork, now);
            self.store_decided_forks(&decided)?;
        }
        self.forget_fork()
    }

    /// The forks about which somebody has decided, and when. What cannot be read of it is left to
    /// people, together with these forks.
    pub(in crate::replicate) fn decided_forks(
        &self,
    ) -> io::Result<BTreeMap<Generation, SystemTime>> {
        let text = read_text(&self.root.join("decided"))?.unwrap_or_default();
        let parse = |line: &str| {
            let (fork, seconds) = line.split_once(' ')?;
            let since = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
            Some((fork.parse().ok()?, since))
        };
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Takes note that nothing is left of a fork, or that it is somebody else's.
    pub(in crate::replicate) fn forget_decided_fork(&self, fork: Generation) -> io::Result<()> {
        let mut decided = self.decided_forks()?;
        decided.remove(&fork);
        self.store_decided_forks(&decided)
    }

    fn store_decided_forks(&self, decided: &BTreeMap<Generation, SystemTime>) -> io::Result<()> {
        let path = self.root.join("decided");
        if decided.is_empty() {
            return remove(&path);
        }
        let mut text = String::new();
        for (fork, since) in decided {
            let seconds = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let _ = writeln!(text, "{fork} {seconds}");
        }
        fs::create_dir_all(&self.root)?;
        replace_file(&path, text.as_bytes(), Durability::Power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_that_is_left_is_known_until_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let staging = Staging::new(directory.path(), "replica");
        let since = UNIX_EPOCH + Duration::from_secs(1_000_000);
        staging.decide_fork(since).unwrap();
        assert!(staging.decided_forks().unwrap().is_empty(), "there was none");
        let [first, second] = [1, 2].map(Generation::from_bits);
        for fork in [first, second] {
            staging.note_fork(fork).unwrap();
            staging.decide_fork(since).unwrap();
            assert_eq!(staging.fork().unwrap(), None);
        }
        let found = staging.decided_forks().unwrap();
        assert_eq!(found, [(first, since), (second, since)].into());
        staging.forget_decided_fork(first).unwrap();
        assert_eq!(staging.decided_forks().unwrap(), [(second, since)].into());
        staging.forget_decided_fork(second).unwrap();
        assert!(staging.decided_forks().unwrap().is_empty());
    }
}
