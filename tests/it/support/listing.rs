use std::fs;
use std::path::Path;

/// What there is in a replica in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The generations, sorted by name.
    pub(crate) generations: Vec<Generation>,
}

/// The names of the objects of a generation, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) name: String,
    pub(crate) snapshots: Vec<String>,
    pub(crate) segments: Vec<String>,
}

impl Listing {
    pub(crate) fn of(replica: &Path) -> Self {
        let root = replica.join("generations");
        let generations = names(&root)
            .into_iter()
            .map(|name| Generation {
                snapshots: objects(&root.join(&name).join("snapshots"), ".snapshot.lz4"),
                segments: objects(&root.join(&name).join("wal"), ".wal.lz4"),
                name,
            })
            .collect();
        Self { generations }
    }

    pub(crate) fn snapshots(&self) -> usize {
        self.generations.iter().map(|generation| generation.snapshots.len()).sum()
    }

    pub(crate) fn segments(&self) -> usize {
        self.generations.iter().map(|generation| generation.segments.len()).sum()
    }

    /// The one generation that there is.
    pub(crate) fn only(&self) -> &Generation {
        assert_eq!(self.generations.len(), 1, "{self:?}");
        &self.generations[0]
    }
}

impl Generation {
    /// The highest index of its WALs, or 0.
    pub(crate) fn last_index(&self) -> u32 {
        self.segments.last().map_or(0, |name| u32::from_str_radix(&name[..8], 16).unwrap())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn objects(directory: &Path, suffix: &str) -> Vec<String> {
    let names = names(directory);
    names.iter().filter_map(|name| name.strip_suffix(suffix)).map(str::to_owned).collect()
}
