//! Uploads that wait for memory, because others make no progress.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use litestream::store::{ObjectStore, S3Store};

use crate::rogue::{Fault, Kind, Rogue, Rule};

/// Three parts, of which two are in memory before anything is sent.
const LENGTH: u64 = 11 << 20;

/// How many uploads have room. Another one must wait.
const AT_A_TIME: usize = 6;

const DELAY: Duration = Duration::from_secs(2);

#[tokio::test]
async fn large_objects_wait_for_each_other_and_small_ones_for_nobody() {
    let rogue = Rogue::start();
    let store = S3Store::connect(&rogue.location("")).await.unwrap();
    rogue.misbehave(Rule::from(Fault::Delay(DELAY)).on(&[Kind::PutPart]));
    let began = Instant::now();
    let large = join_all((0..=AT_A_TIME).map(|number| {
        let store = &store;
        async move {
            let content = Box::new(io::repeat(7).take(LENGTH));
            store.put(&format!("large/{number}"), content, LENGTH).await.unwrap();
        }
    }));
    let small = async {
        while rogue.count(Kind::PutPart) < 2 * AT_A_TIME {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for number in 0..20 {
            let content = Box::new(io::repeat(7).take(1000));
            store.put(&format!("small/{number}"), content, 1000).await.unwrap();
        }
        let (begun, elapsed) = (rogue.count(Kind::BeginUpload), began.elapsed());
        // On a slow machine, some may already be done.
        assert!(begun == AT_A_TIME || DELAY <= elapsed, "{begun} in {elapsed:?}");
    };
    tokio::join!(large, small);
    for key in rogue.keys() {
        let length = if key.starts_with("large/") { LENGTH } else { 1000 };
        assert_eq!(rogue.object(&key).unwrap().len() as u64, length, "{key}");
    }
    assert_eq!((rogue.keys().len(), rogue.uploads()), (AT_A_TIME + 1 + 20, 0));
}
