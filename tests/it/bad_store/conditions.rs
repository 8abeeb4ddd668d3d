//! Objects that only one process may create.

use std::io::Cursor;

use litestream::store::{ObjectStore, S3Store, StoreError};

use super::Remote;
use crate::rogue::{Fault, Habits, Kind, Refusal, Rogue, Rule};

async fn create(store: &S3Store, content: Vec<u8>) -> Result<(), StoreError> {
    let length = content.len() as u64;
    store.create("k", Box::new(Cursor::new(content)), length).await
}

/// Objects are created with one request, and in parts.
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

/// The daemon is told that the object exists, and it may be its own.
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

/// Without conditions, a second daemon is noticed late, so the user should know beforehand.
fn expect_to_be_named(trouble: impl Fn(&Rogue), line: &str) {
    let remote = Remote::new();
    trouble(&remote.store);
    remote.site.write(1, 30);
    let mut daemon = remote.site.replicate();
    daemon.wait_for(line);
    remote.at_work(&daemon);
    remote.at_work(&daemon);
    let log = daemon.log();
    assert_eq!(log.matches(line).count(), 1, "{log}");
    let (named, begun) = (log.find(line), log.find("generation begins"));
    assert!(named < begun, "before anything is stored: {log}");
    remote.finish(daemon);
    assert_eq!(remote.keys("conditional-writes").len(), 0);
}

const IGNORED: &str = "this store ignores conditional writes";

#[test]
fn a_store_that_ignores_conditions_is_named() {
    let habits = Habits { ignores_conditions: true, ..Habits::default() };
    expect_to_be_named(|store| store.set_habits(habits.clone()), IGNORED);
}

/// The request must be repeated without conditions, or nothing would ever be stored there.
#[test]
fn a_store_that_knows_no_conditions_is_named_and_used() {
    let rule = Rule::from(Fault::Refuse(Refusal::NOT_IMPLEMENTED));
    let rule = rule.on(&[Kind::Put]).about("conditional-writes").times(1);
    expect_to_be_named(|store| store.misbehave(rule.clone()), IGNORED);
}

/// A policy may allow only the names that Litestream uses.
#[test]
fn a_store_that_does_not_let_itself_be_asked_is_named_and_used() {
    let rule = Rule::from(Fault::Refuse(Refusal::DENIED));
    let rule = rule.on(&[Kind::Put]).about("conditional-writes");
    let line = "cannot find out whether this store keeps to conditional writes";
    expect_to_be_named(|store| store.misbehave(rule.clone()), line);
}

#[test]
fn a_store_that_keeps_to_conditions_is_asked_without_a_trace() {
    let remote = Remote::new();
    let daemon = remote.replicate();
    remote.at_work(&daemon);
    assert!(!daemon.log().contains("conditional"), "{}", daemon.log());
    assert_eq!(remote.keys("conditional-writes").len(), 0);
    remote.finish(daemon);
}
