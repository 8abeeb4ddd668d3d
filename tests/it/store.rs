//! What every kind of store must do: the contract of `ObjectStore`.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use litestream::store::{Access, FileStore, Location, Object, ObjectStore, Store, StoreError};
use tempfile::TempDir;

use crate::rogue::{Habits, Rogue};
use crate::seaweed;

const MIB: u64 = 1 << 20;

/// An empty store of each kind, for S3 with and without a prefix; and the server of the bad store
/// tests, which behaves well here.
struct Stores {
    stores: Vec<Store>,
    _kept: (TempDir, Rogue),
}

impl Stores {
    async fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut stores = vec![Store::File(FileStore::new(directory.path().join("a/replica")))];
        for prefix in ["", "a b/ä+%20&=?#*'(x)~"] {
            let location = Location::S3(seaweed::bucket().location(prefix));
            stores.push(Store::open(&location).await.unwrap());
        }
        let rogue = Rogue::start();
        rogue.set_habits(Habits { page: 2, unordered: true, ..Habits::default() });
        let location = Location::S3(rogue.location("a b/ä+%20&=?#*'(x)~"));
        stores.push(Store::open(&location).await.unwrap());
        Self { stores, _kept: (directory, rogue) }
    }
}

/// Bytes that differ everywhere, so that parts in the wrong order are noticed.
fn bytes(length: u64) -> Vec<u8> {
    let words = (0..length.div_ceil(8)).flat_map(u64::to_le_bytes);
    words.take(usize::try_from(length).unwrap()).collect()
}

async fn put(store: &Store, key: &str, bytes: Vec<u8>) {
    let length = bytes.len() as u64;
    store.put(key, Box::new(io::Cursor::new(bytes)), length).await.unwrap();
}

fn keys(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.key.as_str()).collect()
}

/// A source that fails after `length` bytes.
fn broken_source(length: u64) -> Box<dyn Read + Send> {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken on purpose"))
        }
    }
    Box::new(io::repeat(7).take(length).chain(Broken))
}

#[tokio::test]
async fn gives_back_what_was_put() {
    for store in Stores::empty().await.stores {
        for length in [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 30 * MIB] {
            let content = bytes(length);
            put(&store, "dir/object", content.clone()).await;
            let found = store.get("dir/object", 0..length).await.unwrap();
            assert!(found == content, "{store:?}: {length} bytes came back otherwise");
            let listed = store.list("dir/").await.unwrap();
            assert_eq!((listed.len(), listed[0].size), (1, length), "{store:?}");
            let age = SystemTime::now().duration_since(listed[0].created).unwrap_or_default();
            assert!(age < Duration::from_mins(1), "{store:?}: {listed:?}");
        }
        let part = store.get("dir/object", 3..17 * MIB).await.unwrap();
        assert!(part == bytes(17 * MIB)[3..]);
        put(&store, "dir/object", b"short".to_vec()).await;
        assert_eq!(store.get("dir/object", 1..3).await.unwrap(), b"ho");
    }
}

#[tokio::test]
async fn creates_only_what_is_not_there() {
    for store in Stores::empty().await.stores {
        for length in [3, 20 * MIB] {
            let key = format!("dir/{length}");
            let create = |fill: u8| {
                let content = io::repeat(fill).take(length);
                store.create(&key, Box::new(content), length)
            };
            create(1).await.unwrap();
            let outcome = create(2).await;
            assert!(
                matches!(&outcome, Err(StoreError::Exists { key: of }) if *of == key),
                "{store:?}: {outcome:?}"
            );
            assert_eq!(store.get(&key, 0..1).await.unwrap(), [1], "{store:?}");
            assert_eq!(store.list("").await.unwrap().len(), 1, "{store:?}");
            store.delete(std::slice::from_ref(&key)).await.unwrap();
            create(2).await.unwrap();
            store.delete(&[key]).await.unwrap();
        }
    }
}

/// Neither may remove the temporary file of the other, or a mixture of both would be stored.
#[tokio::test]
async fn of_two_that_create_the_same_object_one_fails() {
    // What S3 servers do is not up to us.
    for store in Stores::empty().await.stores.into_iter().take(1) {
        for round in 0..50 {
            let key = format!("dir/{round}");
            let create =
                |fill: u8| store.create(&key, Box::new(io::repeat(fill).take(3 * MIB)), 3 * MIB);
            let (fill, loser) = match tokio::join!(create(1), create(2)) {
                (Ok(()), Err(error)) => (1, error),
                (Err(error), Ok(())) => (2, error),
                both => panic!("{store:?}: {both:?}"),
            };
            // The loser came too late, or at the same time: then it may try again.
            let known = matches!(&loser, StoreError::Exists { key: of } if *of == key)
                || matches!(loser, StoreError::Unavailable(_));
            assert!(known, "{store:?}: {loser:?}");
            let found = store.get(&key, 0..3 * MIB).await.unwrap();
            assert!(found.iter().all(|&byte| byte == fill), "{store:?}: a mixture");
            assert_eq!(keys(&store.list(&key).await.unwrap()), [&key]);
        }
    }
}

#[tokio::test]
async fn stores_more_than_was_announced() {
    for store in Stores::empty().await.stores {
        store.put("object", Box::new(io::Cursor::new(bytes(9 * MIB))), 1).await.unwrap();
        assert!(store.get("object", 0..9 * MIB).await.unwrap() == bytes(9 * MIB));
    }
}

#[tokio::test]
async fn reads_exactly_the_range_or_fails() {
    for store in Stores::empty().await.stores {
        put(&store, "object", b"0123456789".to_vec()).await;
        assert_eq!(store.get("object", 9..10).await.unwrap(), b"9");
        assert!(store.get("object", 4..4).await.unwrap().is_empty());
        for range in [0..11, 9..12, 10..11, 100..101] {
            let outcome = store.get("object", range).await;
            assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{store:?}: {outcome:?}");
        }
        let missing = store.get("nothing", 0..1).await;
        assert!(
            matches!(&missing, Err(StoreError::NotFound { key }) if key == "nothing"),
            "{store:?}: {missing:?}"
        );
    }
}

#[tokio::test]
async fn lists_in_order_what_begins_with_a_prefix() {
    for store in Stores::empty().await.stores {
        assert!(store.list("").await.unwrap().is_empty());
        assert!(store.list("generations/").await.unwrap().is_empty());
        assert!(store.list_directories("generations/").await.unwrap().is_empty());
        let stored = ["g/b/wal/2", "g/a/wal/1", "g/b/wal/1", "g/ab/wal/1", "g/file", "h/x"];
        for key in stored {
            put(&store, key, b"x".to_vec()).await;
        }
        let mut sorted = stored.to_vec();
        sorted.sort_unstable();
        assert_eq!(keys(&store.list("").await.unwrap()), sorted);
        assert_eq!(keys(&store.list("g/b/wal/").await.unwrap()), ["g/b/wal/1", "g/b/wal/2"]);
        assert_eq!(keys(&store.list("g/a").await.unwrap()), ["g/a/wal/1", "g/ab/wal/1"]);
        assert_eq!(keys(&store.list("g/file").await.unwrap()), ["g/file"]);
        assert!(store.list("nothing/").await.unwrap().is_empty());
        assert_eq!(store.list_directories("").await.unwrap(), ["g", "h"]);
        assert_eq!(store.list_directories("g/").await.unwrap(), ["a", "ab", "b"]);
    }
}

#[tokio::test]
async fn deletes_what_is_there() {
    for store in Stores::empty().await.stores {
        for key in ["g/a/wal/1", "g/a/wal/2", "g/b/wal/1"] {
            put(&store, key, b"x".to_vec()).await;
        }
        store.delete(&[]).await.unwrap();
        store.delete(&["nothing".to_owned()]).await.unwrap();
        let gone = ["g/a/wal/2", "g/a/never/was", "g/a/wal/1"].map(str::to_owned);
        store.delete(&gone).await.unwrap();
        assert_eq!(keys(&store.list("").await.unwrap()), ["g/b/wal/1"]);
        assert!(store.list("g/a/").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn handles_more_objects_than_one_answer_holds() {
    for store in Stores::empty().await.stores {
        let names: Vec<String> = (0..1105).map(|number| format!("d{number:04}/x")).collect();
        stream::iter(&names).for_each_concurrent(16, |name| put(&store, name, b"x".to_vec())).await;
        assert_eq!(keys(&store.list("").await.unwrap()), names);
        assert_eq!(store.list_directories("").await.unwrap().len(), names.len());
        store.delete(&names).await.unwrap();
        assert!(store.list("").await.unwrap().is_empty(), "{store:?}");
    }
}

#[tokio::test]
async fn stores_nothing_of_a_source_that_fails() {
    for store in Stores::empty().await.stores {
        put(&store, "there", b"before".to_vec()).await;
        for length in [0, 100, 20 * MIB] {
            for key in ["there", "new/one"] {
                let outcome = store.put(key, broken_source(length), 100 * MIB).await;
                assert!(matches!(outcome, Err(StoreError::Source(_))), "{store:?}: {outcome:?}");
            }
        }
        assert_eq!(store.get("there", 0..6).await.unwrap(), b"before");
        assert_eq!(keys(&store.list("").await.unwrap()), ["there"]);
    }
}

#[tokio::test]
async fn puts_and_deletes_side_by_side() {
    for store in Stores::empty().await.stores {
        stream::iter(0..60)
            .for_each_concurrent(6, |number| {
                let store = &store;
                async move {
                    let key = format!("g/shared/{number}");
                    put(store, &key, b"x".to_vec()).await;
                    store.delete(&[key]).await.unwrap();
                }
            })
            .await;
        assert!(store.list("").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn files_take_the_access_they_are_given() {
    let directory = tempfile::tempdir().unwrap();
    let mode = |path: &str| {
        let metadata = std::fs::metadata(directory.path().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    let private = FileStore::new(directory.path().join("private"));
    private.put("a/b", Box::new(io::empty()), 0).await.unwrap();
    assert_eq!((mode("private"), mode("private/a"), mode("private/a/b")), (0o700, 0o700, 0o600));
    let (files, directories) =
        (Access { mode: 0o400, owner: None }, Access { mode: 0o700, owner: None });
    let shared = FileStore::new(directory.path().join("shared")).with_access(files, directories);
    shared.put("b", Box::new(io::empty()), 0).await.unwrap();
    assert_eq!((mode("shared"), mode("shared/b")), (0o700, 0o400));
    assert_eq!(
        Access::like(&std::fs::metadata(directory.path().join("shared/b")).unwrap()).mode,
        0o400
    );
}

#[tokio::test]
async fn files_of_an_interrupted_put_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("a")).unwrap();
    std::fs::write(directory.path().join("a/x.tmp"), "half").unwrap();
    let store = FileStore::new(directory.path().to_owned());
    assert!(store.list("").await.unwrap().is_empty());
    store.put("a/x", Box::new(io::empty()), 0).await.unwrap();
    assert!(!directory.path().join("a/x.tmp").exists());
    store.delete(&["a/x".to_owned()]).await.unwrap();
    assert!(directory.path().exists() && !directory.path().join("a").exists());
}

#[tokio::test]
async fn a_file_in_the_place_of_a_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let store = FileStore::new(file.clone());
    for error in [
        store.list("").await.unwrap_err(),
        store.list_directories("generations/").await.unwrap_err(),
        store.put("a/b", Box::new(io::empty()), 0).await.unwrap_err(),
        store.get("a", 0..1).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
        assert!(text.contains(file.to_str().unwrap()) && text.contains("choose another"), "{text}");
    }
}
