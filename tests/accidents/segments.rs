use std::path::{Path, PathBuf};

use crate::contender::Contender;
use crate::it::support::{Listing, eventually, open};
use crate::outcome::Outcome;
use crate::restoration::Content;
use crate::scene::Scene;

const ROWS: u32 = 40;
const GOOD: u32 = 10;

/// A replica in the format of Litestream 0.3, written by us, which all contenders can restore.
pub(crate) struct Segments {
    scene: Scene,
    /// The names of the segments, one for each row.
    names: Vec<String>,
}

impl Segments {
    pub(crate) fn write() -> Self {
        let scene = Scene::new(Contender::Ours);
        scene.write(0);
        let daemon = scene.replicate();
        eventually("a snapshot", || Listing::of(scene.replica()).snapshots() == 1);
        let connection = open(&scene.database());
        let mut names = Vec::new();
        for _ in 0..ROWS {
            let before = Listing::of(scene.replica()).segments();
            let row = "INSERT INTO t (content) VALUES (hex(randomblob(200)))";
            connection.execute(row, []).unwrap();
            eventually("a segment", || Listing::of(scene.replica()).segments() > before);
            let listing = Listing::of(scene.replica());
            names.push(listing.only().segments.last().unwrap().clone());
        }
        drop(connection);
        assert_eq!(scene.stop(daemon), Some(0));
        Self { scene, names }
    }

    /// A segment with others before and after it.
    pub(crate) fn in_the_middle(&self) -> PathBuf {
        let listing = Listing::of(self.scene.replica());
        let directory = format!("generations/{}/wal", listing.only().name);
        let name = &self.names[GOOD as usize];
        self.scene.replica().join(directory).join(format!("{name}.wal.lz4"))
    }

    /// Restores after something has happened to a segment: there must be an error and no file.
    pub(crate) fn restore(&self, contender: Contender, damaged: &Path) -> Outcome {
        let scene = Scene::new(contender);
        let restored = scene.restore_from(self.scene.replica());
        let refused = restored.status != Some(0) && restored.content() == Content::Nothing;
        if contender == Contender::Ours {
            let name = damaged.file_name().unwrap().to_str().unwrap();
            let name = name.strip_suffix(".wal.lz4").unwrap();
            assert!(restored.log.contains(name), "{name} is not named in {}", restored.log);
        }
        Outcome::new(refused, restored.describe(ROWS))
    }
}
