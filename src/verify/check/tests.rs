use std::time::SystemTime;

use super::*;
use crate::format::{Content, Digest, Link};

const GENERATION: Generation = Generation::from_bits(7);

/// Objects as the daemon seals them.
struct Replica {
    seals: BTreeMap<Key, Found>,
    link: Link,
}

impl Replica {
    /// WALs 0 and 1 of three segments each, with snapshots at their starts.
    fn new() -> Self {
        let mut replica = Self { seals: BTreeMap::new(), link: Link(0) };
        for index in 0..2 {
            replica.snapshot(index, 0);
            for segment in 0..3 {
                replica.segment(index, segment * 100, segment * 100 + 100);
            }
        }
        replica
    }

    fn snapshot(&mut self, index: u32, end: u64) {
        let snapshots = self.seals.keys().filter(|key| matches!(key, Key::Snapshot { .. }));
        let predecessor = snapshots.map(|key| key.start().index).max();
        let content = Content::Snapshot { predecessor };
        let seal = seal(content, pos(index, 0), pos(index, end), self.link);
        let key = Key::Snapshot { generation: GENERATION, index: seal.start.index };
        self.seals.insert(key, Ok(Some(seal)));
    }

    fn segment(&mut self, index: u32, start: u64, end: u64) {
        let seal = seal(
            Content::Segment { checksum: [0; 8] },
            pos(index, start),
            pos(index, end),
            self.link,
        );
        self.link = seal.link();
        self.seals.insert(key(seal.start), Ok(Some(seal)));
    }

    fn remove(mut self, name: &str) -> Self {
        assert!(self.seals.remove(&named(name)).is_some());
        self
    }

    fn change(mut self, name: &str, change: impl FnOnce(&mut Seal)) -> Self {
        let Some(Ok(Some(seal))) = self.seals.get_mut(&named(name)) else { panic!("{name}") };
        change(seal);
        self
    }

    /// Removes the seals of the objects whose names contain `part`.
    fn unseal(mut self, part: &str) -> Self {
        for (key, found) in &mut self.seals {
            if key.to_string().contains(part) {
                *found = Ok(None);
            }
        }
        self
    }

    /// The names of defective objects.
    fn check(&self) -> Vec<String> {
        let listed = self.seals.keys().map(|&key| (key, 1, SystemTime::UNIX_EPOCH));
        let defects = check(&History::new(GENERATION, listed), &self.seals);
        let names = defects.iter().map(|defect| defect.object.to_string());
        names.map(|name| name[29..].split('.').next().unwrap().to_owned()).collect()
    }
}

fn pos(index: u32, offset: u64) -> WalPos {
    WalPos { index: WalIndex::new(index).unwrap(), offset }
}

fn key(pos: WalPos) -> Key {
    Key::Segment { generation: GENERATION, pos }
}

fn named(name: &str) -> Key {
    let suffix = if name.starts_with("wal") { "wal.lz4" } else { "snapshot.lz4" };
    format!("generations/{GENERATION}/{name}.{suffix}").parse().unwrap()
}

fn seal(content: Content, start: WalPos, end: WalPos, previous: Link) -> Seal {
    Seal { content, generation: GENERATION, start, end, previous, ..Seal::example() }
}

#[track_caller]
fn expect(replica: &Replica, defective: &[&str]) {
    assert_eq!(replica.check(), defective);
}

#[test]
fn finds_nothing_in_whole_generations() {
    let new = Replica::new;
    expect(&new(), &[]);
    expect(&new().unseal(""), &[]);
    expect(&new().remove("snapshots/00000001"), &[]);
    let expired = |replica: Replica| {
        let replica = replica.remove("snapshots/00000000").remove("wal/00000000_00000000");
        replica.remove("wal/00000000_00000064").remove("wal/00000000_000000c8")
    };
    expect(&expired(new()), &[]);
    let mut later = new();
    later.snapshot(2, 0);
    expect(&later, &[]);
}

#[test]
fn names_a_snapshot_that_a_later_one_follows() {
    let later = || {
        let mut later = Replica::new();
        later.snapshot(2, 0);
        later
    };
    expect(&later(), &[]);
    expect(&later().remove("snapshots/00000001"), &["snapshots/00000001"]);
    let expired = later().remove("snapshots/00000000").remove("wal/00000000_00000000");
    let expired = expired.remove("wal/00000000_00000064").remove("wal/00000000_000000c8");
    expect(&expired, &[]);
}

/// A replica lacks what another one has, and gets a snapshot of the current state of the
/// generation.
fn begin_anew(seal: &mut Seal) {
    seal.content = Content::Snapshot { predecessor: None };
}

#[test]
fn a_snapshot_may_begin_anew_behind_a_hole() {
    let with_hole = || {
        let mut replica = Replica::new();
        replica.link = Link(77);
        replica.snapshot(4, 0);
        let mut replica = replica.change("snapshots/00000004", begin_anew);
        replica.segment(4, 0, 100);
        replica.segment(5, 0, 100);
        replica
    };
    expect(&with_hole(), &[]);
    expect(&with_hole().remove("wal/00000001_000000c8"), &[]);
    expect(&with_hole().remove("wal/00000001_00000064"), &["wal/00000001_00000064"]);
    expect(&with_hole().remove("wal/00000004_00000000"), &["wal/00000004_00000000"]);
    // The answer to the first snapshot was lost, and nothing was sent after it.
    let mut alone = Replica { seals: BTreeMap::new(), link: Link(0) };
    alone.snapshot(2, 0);
    alone.link = Link(77);
    alone.snapshot(4, 0);
    let mut alone = alone.change("snapshots/00000004", begin_anew);
    expect(&alone, &[]);
    alone.segment(4, 0, 100);
    expect(&alone, &[]);
    alone.segment(4, 100, 200);
    expect(&alone.remove("wal/00000004_00000000"), &["wal/00000004_00000000"]);
    let owing = with_hole().change("snapshots/00000004", |seal| {
        seal.content = Content::Snapshot { predecessor: Some(WalIndex::default()) };
    });
    expect(&owing, &["wal/00000002_00000000"]);
}

/// The first snapshot of a generation may be copied in the middle of a log, before a segment of
/// that log is stored. A restore accepts it.
#[test]
fn a_snapshot_is_whole_before_its_log_is_begun() {
    let mut replica = Replica { seals: BTreeMap::new(), link: Link(0) };
    replica.snapshot(0, 300);
    expect(&replica, &[]);
    replica.segment(0, 0, 100);
    expect(&replica, &["wal/00000000_00000064"]);
    // A later snapshot is not stored before its log.
    let mut later = Replica::new();
    later.snapshot(2, 300);
    expect(&later, &["wal/00000002_00000000"]);
}

#[test]
fn names_what_is_missing() {
    let new = Replica::new;
    for name in [
        "snapshots/00000000",
        "wal/00000000_00000000",
        "wal/00000000_00000064",
        "wal/00000001_00000000",
        "wal/00000001_00000064",
    ] {
        expect(&new().remove(name), &[name]);
    }
    // Here, the segment after it may be the wrong one.
    expect(&new().remove("wal/00000000_000000c8"), &["wal/00000001_00000000"]);
    // It was the newest, and nothing shows that it existed.
    expect(&new().remove("wal/00000001_000000c8"), &[]);
    let mut copied_late = new();
    copied_late.snapshot(1, 300);
    // A snapshot that was copied in the middle of its WAL shows that there is more.
    copied_late = copied_late.change("snapshots/00000001", |seal| {
        let Some(Ok(Some(before))) = Replica::new().seals.remove(&named("snapshots/00000001"))
        else {
            panic!()
        };
        seal.previous = before.previous;
    });
    expect(&copied_late, &[]);
    let cut = copied_late.remove("wal/00000001_000000c8");
    expect(&cut, &["wal/00000001_000000c8"]);
    let no_index = new().remove("wal/00000000_00000000").remove("wal/00000000_00000064");
    expect(&no_index.remove("wal/00000000_000000c8"), &["wal/00000000_00000000"]);
}

#[test]
fn names_what_does_not_belong_there() {
    let new = Replica::new;
    let (second, snapshot) = ("wal/00000000_00000064", "snapshots/00000001");
    let later = "wal/00000000_000000c8";
    expect(&new().change(second, |seal| seal.start = pos(0, 0)), &[second]);
    expect(
        &new().change(second, |seal| seal.content = Content::Snapshot { predecessor: None }),
        &[second],
    );
    expect(&new().change(second, |seal| seal.generation = Generation::from_bits(8)), &[second]);
    expect(&new().change(second, |seal| seal.page_size = 512), &[second]);
    expect(&new().change(second, |seal| seal.end = pos(0, 100)), &[second]);
    expect(&new().change(second, |seal| seal.end = pos(1, 200)), &[second]);
    expect(&new().change(second, |seal| seal.digest = Digest(9)), &[later]);
    expect(&new().change(second, |seal| seal.end = pos(0, 250)), &[later]);
    // An older, shorter segment.
    expect(&new().change(second, |seal| seal.end = pos(0, 180)), &["wal/00000000_000000b4"]);
    expect(&new().change(snapshot, |seal| seal.previous = Link(5)), &[snapshot]);
    let mut last = new();
    last.snapshot(2, 0);
    let last = last.change("snapshots/00000002", |seal| seal.previous = Link(5));
    expect(&last, &["snapshots/00000002"]);
    let copied = new().change(snapshot, |seal| (seal.end, seal.digest) = (pos(1, 200), Digest(1)));
    expect(&copied, &[snapshot]);
    expect(&new().unseal(second), &[second]);
    let mut altered = new();
    altered.seals.insert(named(second), Err("altered"));
    expect(&altered, &[second]);
}
