//! What S3 servers do wrong, and how it is reported.

use std::io::{self, Read};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use litestream::store::{
    ObjectStore, Patience, S3Location, S3Options, S3Store, Secret, StoreError,
};

use crate::rogue::{Fault, Habits, Kind, Refusal, Rogue, Rule};
use crate::seaweed;

/// For servers that never answer.
const HASTE: Patience = Patience {
    connect: Duration::from_secs(2),
    answer: Duration::from_secs(1),
    stall: Duration::from_secs(1),
    bytes_per_second: 8 << 20,
    part: Duration::ZERO,
};

fn at(endpoint: &str) -> S3Location {
    S3Location {
        bucket: "bucket".into(),
        endpoint: Some(endpoint.into()),
        region: Some("us-east1".into()),
        access_key_id: Some("key".into()),
        secret_access_key: Some(Secret::new("hush-hush")),
        ..S3Location::default()
    }
}

async fn hasty(location: &S3Location) -> S3Store {
    let options = S3Options { patience: HASTE, ca_bundle: None };
    S3Store::connect_with(location, options).await.unwrap()
}

/// Calls every operation, and passes each error to `check`.
async fn check_all(store: &S3Store, check: impl Fn(&StoreError)) {
    let small = || Box::new(io::repeat(1).take(10));
    let large = || Box::new(io::repeat(1).take(20 << 20));
    let mut errors = vec![
        store.put("k/small", small(), 10).await.unwrap_err(),
        store.put("k/large", large(), 20 << 20).await.unwrap_err(),
        store.get("k/x", 0..10).await.unwrap_err(),
        store.list("k/").await.unwrap_err(),
        store.list_directories("k/").await.unwrap_err(),
        store.delete(&["k/x".to_owned()]).await.unwrap_err(),
    ];
    errors.push(store.delete(&["k/x".to_owned(), "k/y".to_owned()]).await.unwrap_err());
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("bucket") && !text.contains('\n'), "{text}");
        assert!(!text.contains("hush"), "{text}");
        check(&error);
    }
}

fn assert_rejected(error: &StoreError, part: &str) {
    let text = error.to_string();
    assert!(matches!(error, StoreError::Rejected(_)) && text.contains(part), "{error:?}");
}

fn assert_unavailable(error: &StoreError, part: &str) {
    let text = error.to_string();
    assert!(matches!(error, StoreError::Unavailable(_)) && text.contains(part), "{error:?}");
}

#[tokio::test]
async fn a_missing_bucket_is_named() {
    let location =
        S3Location { bucket: "no-such-bucket".into(), ..seaweed::bucket().location("p") };
    let store = S3Store::connect(&location).await.unwrap();
    check_all(&store, |error| assert_rejected(error, "NoSuchBucket")).await;
    let text = store.list("").await.unwrap_err().to_string();
    assert!(text.contains("no-such-bucket") && text.contains("create the bucket"), "{text}");
}

#[tokio::test]
async fn wrong_keys_are_told_apart() {
    let bucket = seaweed::bucket();
    let mut location = bucket.location("p");
    location.secret_access_key = Some(Secret::new("hush-hush"));
    let store = S3Store::connect(&location).await.unwrap();
    check_all(&store, |error| assert_rejected(error, "check secret-access-key")).await;
    location.access_key_id = Some("stranger".into());
    let store = S3Store::connect(&location).await.unwrap();
    check_all(&store, |error| assert_rejected(error, "check access-key-id")).await;
}

#[tokio::test]
async fn a_refused_connection_may_come_back() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = hasty(&at(&endpoint)).await;
    check_all(&store, |error| assert_unavailable(error, "refused")).await;
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_refused_without_its_password() {
    for endpoint in ["ftp://host", "https://", "https://user:hush@host"] {
        let error = S3Store::connect(&at(endpoint)).await.unwrap_err();
        assert_rejected(&error, "https://host:port");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let store = hasty(&at(&format!("http://{}", listener.local_addr().unwrap()))).await;
    let began = Instant::now();
    check_all(&store, |error| assert_unavailable(error, "bucket")).await;
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_busy_server_may_recover() {
    let rogue = Rogue::start();
    rogue.misbehave(Fault::Refuse(Refusal { status: 503, code: "" }));
    let store = hasty(&rogue.location("")).await;
    check_all(&store, |error| assert_unavailable(error, "HTTP 503")).await;
}

#[tokio::test]
async fn an_answer_without_a_tag_confirms_nothing() {
    let rogue = Rogue::start();
    rogue.set_habits(Habits { gives_no_tags: true, ..Habits::default() });
    let store = S3Store::connect(&rogue.location("")).await.unwrap();
    let error = store.put("k", Box::new(io::empty()), 0).await.unwrap_err();
    assert_unavailable(&error, "did not confirm");
}

#[tokio::test]
async fn deletes_one_by_one_where_it_has_to() {
    let rogue = Rogue::start();
    let refusal = Refusal { status: 400, code: "MissingContentMD5" };
    rogue.misbehave(Rule::from(Fault::Refuse(refusal)).on(&[Kind::DeleteMany]));
    let store = S3Store::connect(&rogue.location("")).await.unwrap();
    let keys = ["b", "a"].map(str::to_owned);
    for _ in 0..2 {
        store.delete(&keys).await.unwrap();
    }
    let seen = rogue.requests();
    let seen: Vec<(Kind, &str)> = seen.iter().map(|seen| (seen.kind, seen.key.as_str())).collect();
    let (b, a) = ((Kind::Delete, "b"), (Kind::Delete, "a"));
    assert_eq!(seen, [(Kind::DeleteMany, ""), b, a, b, a]);
}

#[tokio::test]
async fn goes_on_after_the_last_key_where_the_token_is_missing() {
    let rogue = Rogue::start();
    rogue.set_habits(Habits { page: 1, forgets_tokens: true, ..Habits::default() });
    for key in ["p/a", "p/b", "q"] {
        rogue.store(key, "x".into());
    }
    let store = S3Store::connect(&rogue.location("p")).await.unwrap();
    let found: Vec<String> = store.list("").await.unwrap().into_iter().map(|o| o.key).collect();
    assert_eq!(found, ["a", "b"]);
}

#[tokio::test]
async fn a_listing_without_end_is_an_error() {
    let rogue = Rogue::start();
    rogue.set_habits(Habits { page: 0, forgets_tokens: true, ..Habits::default() });
    rogue.store("k", "x".into());
    let store = S3Store::connect(&rogue.location("")).await.unwrap();
    assert_rejected(&store.list("").await.unwrap_err(), "how to go on");
}

#[tokio::test]
async fn aborts_uploads_that_fail() {
    let rogue = Rogue::start();
    rogue.misbehave(Rule::from(Fault::Refuse(Refusal::INTERNAL)).on(&[Kind::PutPart]));
    let store = hasty(&rogue.location("")).await;
    let source = Box::new(io::Cursor::new(vec![0; 9 << 20]));
    assert_unavailable(&store.put("k", source, 9 << 20).await.unwrap_err(), "HTTP 500");
    wait_until(|| rogue.uploads() == 0).await;
}

#[tokio::test]
async fn aborts_uploads_that_nobody_waits_for() {
    let rogue = Rogue::start();
    let delay = Fault::Delay(Duration::from_mins(1));
    rogue.misbehave(Rule::from(delay).on(&[Kind::PutPart]));
    let store = S3Store::connect(&rogue.location("")).await.unwrap();
    let source = Box::new(io::Cursor::new(vec![0; 9 << 20]));
    tokio::select! {
        outcome = store.put("k", source, 9 << 20) => panic!("{outcome:?}"),
        () = wait_until(|| rogue.count(Kind::PutPart) > 0) => (),
    }
    wait_until(|| rogue.uploads() == 0).await;
}

/// Waits for a condition. Gives up after a time that is long even for a busy machine.
async fn wait_until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn keeps_a_slash_at_the_start_of_a_prefix() {
    for (prefix, path) in [("/db", "/db/k"), ("/", "/k"), ("", "k")] {
        let rogue = Rogue::start();
        let store = S3Store::connect(&rogue.location(prefix)).await.unwrap();
        let outcome = store.get("k", 0..1).await;
        assert!(matches!(outcome, Err(StoreError::NotFound { .. })), "{outcome:?}");
        assert_eq!(rogue.requests()[0].key, path);
    }
}

#[tokio::test]
async fn trusts_a_private_authority_only_when_told_to() {
    let bucket = seaweed::bucket();
    let location =
        S3Location { endpoint: Some(bucket.https_endpoint.clone()), ..bucket.location("p") };
    let connect = async |location: &S3Location, ca_bundle| {
        let options = S3Options { ca_bundle, ..S3Options::default() };
        S3Store::connect_with(location, options).await
    };
    let distrustful = connect(&location, None).await.unwrap();
    let error = distrustful.list("").await.unwrap_err();
    assert_rejected(&error, "AWS_CA_BUNDLE");

    let told = connect(&location, Some(seaweed::authority())).await.unwrap();
    told.put("k", Box::new(io::Cursor::new(vec![1; 20 << 20])), 20 << 20).await.unwrap();

    let careless = S3Location { skip_verify: true, ..location.clone() };
    let careless = connect(&careless, None).await.unwrap();
    assert!(careless.get("k", 0..20 << 20).await.unwrap() == vec![1; 20 << 20]);

    let directory = tempfile::tempdir().unwrap();
    let garbage = directory.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    for path in [garbage, directory.path().join("missing.pem")] {
        let error = connect(&location, Some(path.clone())).await.unwrap_err();
        assert_rejected(&error, "AWS_CA_BUNDLE");
        assert_rejected(&error, path.to_str().unwrap());
    }
}
