use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::arguments::ListingArguments;
use super::output::Row;
use super::{clock, listing};
use crate::catalog;
use crate::format::Generation;
use crate::sqlite::log_path;
use crate::store::{Retrying, Store};
use crate::utc;

struct GenerationRow {
    replica: String,
    generation: Generation,
    start: SystemTime,
    end: SystemTime,
    /// When the database last changed, as far as is known.
    changed: SystemTime,
}

pub(super) async fn run(arguments: &ListingArguments) -> anyhow::Result<u8> {
    let source = listing::source(arguments).await?;
    let changed = source.database.as_deref().and_then(last_change);
    let changed = changed.unwrap_or_else(SystemTime::now);
    let list = async |name: &str, store: &Retrying<Store>| list(name, store, changed).await;
    listing::print(&source, arguments.json, None, list).await
}

/// When the database or its WAL was last written. `None` if there is no database, and so nothing
/// newer than the replica; the lag is then the age of the replica.
fn last_change(database: &Path) -> Option<SystemTime> {
    let written = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    written(database).max(written(&log_path(database)))
}

async fn list(
    replica: &str,
    store: &Retrying<Store>,
    changed: SystemTime,
) -> anyhow::Result<Option<Vec<GenerationRow>>> {
    let mut rows = Vec::new();
    for generation in catalog::generations(store).await? {
        let history = catalog::history(store, generation).await?;
        if let Some((start, end)) = catalog::span(store, &history).await? {
            rows.push(GenerationRow {
                replica: replica.to_owned(),
                generation,
                start,
                end,
                changed,
            });
        }
    }
    Ok((!rows.is_empty()).then_some(rows))
}

impl Row for GenerationRow {
    const HEADER: &'static [&'static str] = &["name", "generation", "lag", "start", "end"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.replica.clone(),
            self.generation.to_string(),
            clock::lag(self.end, self.changed),
            utc::no_earlier(self.start),
            utc::no_earlier(self.end),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.replica,
            "generation": self.generation.to_string(),
            "lag": clock::lag(self.end, self.changed),
            "lag_seconds": clock::seconds_behind(self.end, self.changed),
            "start": utc::no_earlier(self.start),
            "end": utc::no_earlier(self.end),
        })
    }
}
