use serde_json::{Value, json};

use super::arguments::ListingArguments;
use super::listing;
use super::output::Row;
use crate::catalog;
use crate::format::{Generation, Snapshot};
use crate::store::{Retrying, Store};
use crate::utc;

struct SnapshotRow {
    replica: String,
    generation: Generation,
    snapshot: Snapshot,
}

pub(super) async fn run(arguments: &ListingArguments) -> anyhow::Result<u8> {
    let source = listing::source(arguments).await?;
    listing::print(&source, arguments.json, None, list).await
}

async fn list(replica: &str, store: &Retrying<Store>) -> anyhow::Result<Option<Vec<SnapshotRow>>> {
    let mut rows = Vec::new();
    for generation in catalog::generations(store).await? {
        let snapshots = catalog::snapshots(store, generation).await?;
        rows.extend(snapshots.into_iter().map(|snapshot| SnapshotRow {
            replica: replica.to_owned(),
            generation,
            snapshot,
        }));
    }
    Ok((!rows.is_empty()).then_some(rows))
}

impl Row for SnapshotRow {
    const HEADER: &'static [&'static str] = &["replica", "generation", "index", "size", "created"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.replica.clone(),
            self.generation.to_string(),
            self.snapshot.index.get().to_string(),
            self.snapshot.size.to_string(),
            utc::no_earlier(self.snapshot.created),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "replica": self.replica,
            "generation": self.generation.to_string(),
            "index": self.snapshot.index.get(),
            "size": self.snapshot.size,
            "created": utc::no_earlier(self.snapshot.created),
        })
    }
}
