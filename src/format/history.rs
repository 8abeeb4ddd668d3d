use std::time::{Duration, SystemTime};

use super::{Generation, Key, WalIndex, WalPos};

/// A snapshot as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub index: WalIndex,
    /// Bytes in the store, compressed.
    pub size: u64,
    /// By the clock of the store.
    pub created: SystemTime,
}

/// A WAL segment as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub pos: WalPos,
    /// Bytes in the store, compressed.
    pub size: u64,
    /// By the clock of the store.
    pub created: SystemTime,
}

/// The first and the last moment at which an object can have been stored that was `created` then by
/// the clock of its store: S3 counts in whole seconds.
pub fn moments(created: SystemTime) -> (SystemTime, SystemTime) {
    let since = created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let is_rounded = since.subsec_nanos() == 0;
    (created, if is_rounded { created + Duration::from_secs(1) } else { created })
}

/// When an object was stored that was `created` then by the clock of its store: within the second,
/// if that is all that it tells, when its last transaction was `committed`.
pub fn moment(created: SystemTime, committed: SystemTime) -> SystemTime {
    let (first, last) = moments(created);
    committed.clamp(first, last)
}

/// The snapshots and segments of one generation, each in the order of their positions.
///
/// Stores list in whatever order they like; what depends on the order starts from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub generation: Generation,
    pub snapshots: Vec<Snapshot>,
    pub segments: Vec<Segment>,
}

impl History {
    /// Sorts what was listed. Objects of other generations are left out.
    pub fn new(
        generation: Generation,
        listed: impl IntoIterator<Item = (Key, u64, SystemTime)>,
    ) -> Self {
        let mut history = Self { generation, snapshots: Vec::new(), segments: Vec::new() };
        for (key, size, created) in listed {
            match key {
                Key::Snapshot { generation: of, index } if of == generation => {
                    history.snapshots.push(Snapshot { index, size, created });
                }
                Key::Segment { generation: of, pos } if of == generation => {
                    history.segments.push(Segment { pos, size, created });
                }
                _ => (),
            }
        }
        history.snapshots.sort_by_key(|snapshot| snapshot.index);
        history.segments.sort_by_key(|segment| segment.pos);
        history
    }

    /// All objects and their sizes, the snapshots first.
    pub fn objects(&self) -> impl Iterator<Item = (Key, u64)> {
        let generation = self.generation;
        let snapshots = self.snapshots.iter().map(move |snapshot| {
            (Key::Snapshot { generation, index: snapshot.index }, snapshot.size)
        });
        let segments = self
            .segments
            .iter()
            .map(move |segment| (Key::Segment { generation, pos: segment.pos }, segment.size));
        snapshots.chain(segments)
    }

    /// Keeps only the objects whose keys satisfy `is_kept`.
    pub fn retain(&mut self, is_kept: impl Fn(Key) -> bool) {
        let generation = self.generation;
        let key = |snapshot: &Snapshot| Key::Snapshot { generation, index: snapshot.index };
        self.snapshots.retain(|snapshot| is_kept(key(snapshot)));
        let key = |segment: &Segment| Key::Segment { generation, pos: segment.pos };
        self.segments.retain(|segment| is_kept(key(segment)));
    }

    /// The object that the history ends with, and its size: the last segment, unless a snapshot is
    /// newer. `None` without a snapshot, because then nothing can be restored.
    pub fn newest(&self) -> Option<(Key, u64)> {
        let generation = self.generation;
        let snapshot = self.snapshots.last()?;
        Some(match self.segments.last() {
            Some(segment) if segment.pos.index >= snapshot.index => {
                (Key::Segment { generation, pos: segment.pos }, segment.size)
            }
            _ => (Key::Snapshot { generation, index: snapshot.index }, snapshot.size),
        })
    }

    /// Among the histories of one replica, the one that was written to last.
    ///
    /// This goes by the clock of the store, which may count in seconds: of two histories that end
    /// in the same instant, it is the one that began later. It may be the older one if both also
    /// began in that instant, or if the clock of a directory was set back, until that clock has
    /// caught up: a listing has nothing but times to go by. `restore -generation` takes either.
    pub fn latest(histories: &[Self]) -> Option<&Self> {
        let written = |history: &&Self| {
            history.created().map(|(first, last)| (last, first, history.generation))
        };
        histories.iter().filter(|history| !history.snapshots.is_empty()).max_by_key(written)
    }

    /// The generation that a restore takes instead of `wanted`, although that could be restored: by
    /// the clock of the store it is the latest.
    pub fn hiding(histories: &[Self], wanted: Generation) -> Option<Generation> {
        let is_there = |of: &Self| of.generation == wanted && !of.snapshots.is_empty();
        let latest = Self::latest(histories)?.generation;
        (latest != wanted && histories.iter().any(is_there)).then_some(latest)
    }

    /// The objects that were created last, by a clock that may count in seconds, and their sizes.
    pub fn created_last(&self) -> impl Iterator<Item = (Key, u64)> {
        let last = self.created().map(|(_, last)| last);
        let (generation, is_last) = (self.generation, |created| Some(created) == last);
        let snapshot = self.snapshots.last().filter(|found| is_last(found.created));
        let snapshot =
            snapshot.map(|found| (Key::Snapshot { generation, index: found.index }, found.size));
        let segment = self.segments.last().filter(|found| is_last(found.created));
        let segment =
            segment.map(|found| (Key::Segment { generation, pos: found.pos }, found.size));
        snapshot.into_iter().chain(segment)
    }

    /// When the first and the last of its objects were created. `None` when there are no objects.
    pub fn created(&self) -> Option<(SystemTime, SystemTime)> {
        let snapshots = self.snapshots.iter().map(|snapshot| snapshot.created);
        let times = || snapshots.clone().chain(self.segments.iter().map(|segment| segment.created));
        Some((times().min()?, times().max()?))
    }
}

#[cfg(test)]
impl History {
    /// A generation of objects, each given as `name@created`, with `created` in seconds since an
    /// arbitrary moment.
    pub(crate) fn of_names(generation: u64, objects: &[&str]) -> Self {
        let generation = Generation::from_bits(generation);
        let listed = objects.iter().map(|object| {
            let (name, created) = object.split_once('@').unwrap();
            let key = if name.contains('_') {
                Key::Segment { generation, pos: name.parse().unwrap() }
            } else {
                Key::Snapshot { generation, index: name.parse().unwrap() }
            };
            let created: u64 = created.parse().unwrap();
            (key, 1, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + created))
        });
        Self::new(generation, listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_by_position_whatever_the_order_of_the_listing() {
        let generation = Generation::from_bits(1);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let segment = |text: &str| Key::Segment { generation, pos: text.parse().unwrap() };
        let history = History::new(
            generation,
            [
                (segment("00000001_00000000"), 1, at(3)),
                (segment("00000000_00001038"), 1, at(9)),
                (segment("00000000_00000000"), 1, at(2)),
                (Key::Snapshot { generation, index: WalIndex::default() }, 1, at(1)),
                (
                    Key::Snapshot {
                        generation: Generation::from_bits(2),
                        index: WalIndex::default(),
                    },
                    1,
                    at(0),
                ),
            ],
        );
        let order: Vec<String> = history.segments.iter().map(|s| s.pos.to_string()).collect();
        assert_eq!(order, ["00000000_00000000", "00000000_00001038", "00000001_00000000"]);
        assert_eq!(history.snapshots.len(), 1);
        assert_eq!(history.created(), Some((at(1), at(9))));
    }

    #[test]
    fn the_commit_tells_when_within_a_second_an_object_was_stored() {
        let at = |milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
        for (created, committed, expected) in [
            (27_000, 26_500, 27_000),
            (27_000, 27_300, 27_300),
            (27_000, 29_000, 28_000),
            (27_001, 27_000, 27_001),
            (27_001, 27_300, 27_001),
        ] {
            let found = moment(at(created), at(committed));
            assert_eq!(found, at(expected), "{created} {committed}");
        }
    }

    #[test]
    fn what_was_created_last_may_be_a_snapshot_and_a_segment() {
        let last = |objects: &[&str]| {
            let history = History::of_names(1, objects);
            let keys: Vec<String> =
                history.created_last().map(|(key, _)| key.to_string()).collect();
            keys.join(" ")
        };
        let below = |name: &str| format!("generations/0000000000000001/{name}");
        let segment = below("wal/00000001_00000000.wal.lz4");
        let snapshot = below("snapshots/00000001.snapshot.lz4");
        let before = ["00000000@1", "00000000_00000000@2"];
        assert_eq!(last(&[]), "");
        let with = |more: &[&str]| last(&[&before, more].concat());
        assert_eq!(with(&["00000001_00000000@3"]), segment);
        assert_eq!(with(&["00000001@3"]), snapshot);
        let both = with(&["00000001@3", "00000001_00000000@3"]);
        assert_eq!(both, format!("{snapshot} {segment}"));
    }

    #[test]
    fn the_latest_was_written_to_last_and_of_two_began_later() {
        let history = |generation, times: &[u64]| {
            let generation = Generation::from_bits(generation);
            let objects = times.iter().enumerate().map(|(number, seconds)| {
                let index = WalIndex::new(u32::try_from(number).unwrap()).unwrap();
                let created = SystemTime::UNIX_EPOCH + Duration::from_secs(*seconds);
                (Key::Snapshot { generation, index }, 1, created)
            });
            History::new(generation, objects)
        };
        let latest = |histories: &[History]| History::latest(histories).unwrap().generation;
        let [first, second] = [1, 2].map(Generation::from_bits);
        assert_eq!(latest(&[history(1, &[1, 9]), history(2, &[2, 5])]), first);
        assert_eq!(latest(&[history(2, &[1, 5]), history(1, &[3, 5])]), first, "a tick of S3");
        assert_eq!(latest(&[history(2, &[5]), history(1, &[1, 5])]), second);
        let set_back = [history(1, &[100, 200]), history(2, &[50])];
        assert_eq!(latest(&set_back), first, "until the clock has caught up");
        assert_eq!(History::hiding(&set_back, second), Some(first));
        assert_eq!(History::hiding(&set_back, first), None);
        assert_eq!(History::hiding(&set_back, Generation::from_bits(3)), None);
        assert!(History::latest(&[History::new(first, [])]).is_none());
    }
}
