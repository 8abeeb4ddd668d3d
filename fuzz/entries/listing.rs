use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use litestream::format::{Generation, History, Key, WalIndex, WalPos};
use litestream::restore::Target;
use litestream::restore::plan::{Plan, plans, rank};
use litestream::verify::check;

/// What a store lists, in lines of `NAME SECONDS`: each plan that comes of it is without a gap.
pub fn listing(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let listed: Vec<(Key, u64, SystemTime)> = text.lines().filter_map(parse).collect();
    let generations: BTreeSet<Generation> =
        listed.iter().map(|(key, ..)| key.generation()).collect();
    let histories: Vec<History> = generations
        .into_iter()
        .map(|generation| History::new(generation, listed.iter().copied()))
        .collect();
    let count = |history: &History| history.snapshots.len() + history.segments.len();
    assert_eq!(histories.iter().map(count).sum::<usize>(), listed.len());
    let times = listed.iter().map(|(_, _, created)| Target::Timestamp(*created));
    let indexes = [0, 1, 0x7fff_ffff].into_iter().filter_map(WalIndex::new).map(Target::Index);
    for target in times.take(5).chain(indexes).chain([Target::Latest]) {
        plan(&histories, target);
    }
    for history in &histories {
        check(history, &BTreeMap::new());
    }
}

fn parse(line: &str) -> Option<(Key, u64, SystemTime)> {
    let (name, seconds) = line.split_once(' ')?;
    let created = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?));
    Some((name.parse().ok()?, 1, created?))
}

fn plan(histories: &[History], target: Target) {
    let Ok(ranking) = rank(histories, target, None) else { return };
    for at in ranking.usable {
        for plan in plans(&histories[at], target).into_iter().flatten() {
            expect_no_gap(&plan);
            assert!(plan.objects().all(|(key, _)| key.generation() == histories[at].generation));
        }
    }
}

fn expect_no_gap(plan: &Plan) {
    let mut end = WalPos::start_of(plan.snapshot.index);
    for (at, segment) in plan.segments.iter().enumerate() {
        let begins = end.index < segment.pos.index || at == 0;
        assert!(segment.pos.index == end.index || Some(segment.pos.index) == end.index.next());
        assert!(begins == (segment.pos.offset == 0) || segment.pos == end);
        assert!(end <= segment.pos);
        end = segment.pos;
    }
}
