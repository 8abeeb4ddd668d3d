//! Objects that only one may create.

use std::io::Cursor;

use litestream::store::{ObjectStore, S3Store, StoreError};

use super::Remote;
use crate::rogue::{Fault, Habits, Kind, Refusal, Rogue, Rule};

async fn create(store: &S3Store, content: Vec<u8>) -> Result<(), StoreError> {
    let length = content.len() as u64;
    store.create("k", Box::new(Cursor::new(content)), length).await
}

/// With one request, and in parts.
#[tokio::test]
async fn one_of_two_creates_an_object() {
    for length in [10, 9 << 20] {
        let rogue = Rogue::start();
        let store = S3Store::connect(&rogue.location("")).await.unwrap();
        let (a, b) = tokio::join!(create(&store, vec![1; length]), create(&store, vec![2; length]));
        let winner = match (a, b) {
            (Ok(()), Err(StoreError::Exists { .. })) => 1,
            (Err(StoreError::Exists { .. }), Ok(())) => 2,
            other => panic!("{other:?}"),
        };
        assert!(rogue.object("k").unwrap() == vec![winner; length]);
        assert_eq!(rogue.uploads(), 0);
    }
}

#[tokio::test]
async fn a_store_that_ignores_conditions_lets_both() {
    let rogue = Rogue::start();
    rogue.set_habits(Habits { ignores_conditions: true, ..Habits::default() });
    let store = S3Store::connect(&rogue.location("")).await.unwrap();
    for content in [1, 2] {
        create(&store, vec![content]).await.unwrap();
        assert_eq!(rogue.object("k").unwrap(), [content].as_slice());
    }
}

/// It is told that there is one, and that may be its own.
#[tokio::test]
async fn an_object_that_was_created_though_nobody_said_so_exists() {
    for fault in [Fault::LoseAnswer, Fault::Deny(Refusal::INTERNAL)] {
        let rogue = Rogue::start();
        let store = S3Store::connect(&rogue.location("")).await.unwrap();
        rogue.misbehave(Rule::from(fault).on(&[Kind::Put]).times(1));
        let outcome = create(&store, vec![1]).await;
        assert!(matches!(outcome, Err(StoreError::Exists { .. })), "{outcome:?}");
        assert_eq!(rogue.object("k").unwrap(), [1].as_slice());
    }
}

/// There a second daemon is noticed late, so that somebody should know.
fn expect_to_be_named(trouble: impl Fn(&Rogue)) {
    let remote = Remote::new();
    trouble(&remote.store);
    let mut daemon = remote.replicate();
    remote.at_work(&daemon);
    daemon.wait_for("this store ignores conditional writes");
    remote.at_work(&daemon);
    remote.at_work(&daemon);
    let log = daemon.log();
    assert_eq!(log.matches("this store ignores conditional writes").count(), 1, "{log}");
    remote.finish(daemon);
}

#[test]
fn a_store_that_ignores_conditions_is_named() {
    let habits = Habits { ignores_conditions: true, ..Habits::default() };
    expect_to_be_named(|store| store.set_habits(habits.clone()));
}

/// It has to be asked again without them, or nothing would ever be stored there.
#[test]
fn a_store_that_knows_no_conditions_is_named_and_used() {
    let rule = Rule::from(Fault::Refuse(Refusal::NOT_IMPLEMENTED));
    let rule = rule.on(&[Kind::Put]).about("/wal/").times(1);
    expect_to_be_named(|store| store.misbehave(rule.clone()));
}
