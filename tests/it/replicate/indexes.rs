//! A generation whose indexes are used up.

use std::fs;

use litestream::format::{Seal, WalIndex};
use twox_hash::XxHash3_64;

use super::about_to_restart::often_checkpointed;
use super::fencing::sent_by;
use crate::support::{Site, all_is_sent, eventually, insert, open};

/// Moves a generation that consists of a snapshot to another index, as if it had lasted for years.
fn advance(site: &Site, index: WalIndex) {
    let first = WalIndex::default();
    let generation = site.replica().join("generations").join(&site.listing().only().name);
    let [from, to] = [first, index]
        .map(|index| generation.join("snapshots").join(format!("{index}.snapshot.lz4")));
    let mut object = fs::read(&from).unwrap();
    let mut seal = Seal::at_end(&object).unwrap().unwrap();
    (seal.start.index, seal.end.index) = (index, index);
    object.truncate(object.len() - Seal::SIZE);
    seal.write(&mut object).unwrap();
    fs::write(to, object).unwrap();
    fs::remove_file(from).unwrap();

    let cursor = site.state().join("cursor");
    let text = fs::read_to_string(&cursor).unwrap();
    let (signed, _) = text.split_once("signature ").unwrap();
    let signed = signed.replace(&format!("\npos {first}"), &format!("\npos {index}"));
    let signature = XxHash3_64::oneshot(signed.as_bytes());
    fs::write(cursor, format!("{signed}signature {signature:016x}\n")).unwrap();
    let text = fs::read_to_string(sent_by(site)).unwrap();
    let text = text.replace(&format!("\nend {first}"), &format!("\nend {index}"));
    fs::write(sent_by(site), text).unwrap();
}

/// The generation that has ended must not be resumed, which fails, so that nothing is replicated.
#[test]
fn a_generation_whose_indexes_are_used_up_is_followed_by_another() {
    let site = often_checkpointed();
    let mut daemon = site.replicate();
    daemon.wait_for("snapshot written");
    daemon.stop();
    assert_eq!(site.listing().segments(), 0);
    let last = WalIndex::MAX;
    advance(&site, last.before().and_then(WalIndex::before).unwrap());

    let connection = open(&site.database());
    let daemon = site.replicate();
    let generation = site.listing().only().name.clone();
    eventually("the end of the generation", || {
        insert(&connection, 1);
        daemon.says("the generation has no more indexes for its logs")
    });
    eventually("another one", || site.listing().snapshots() > 1);
    insert(&connection, 2);
    all_is_sent(&site, &site);
    drop(connection);
    daemon.stop();
    site.check();
    let listing = site.listing();
    assert_eq!(listing.generations.len(), 2, "{listing:?}");
    let before = listing.generations.iter().find(|found| found.name == generation).unwrap();
    assert_eq!(before.last_index(), last.get());
    site.restore(&["-generation", &generation]);
    let database = site.database();
    let verify = ["verify", "-full", database.to_str().unwrap()];
    site.start(&mut site.command(&verify)).finish();
}
