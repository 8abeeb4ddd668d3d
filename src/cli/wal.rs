use serde_json::{Value, json};

use super::arguments::WalArguments;
use super::listing;
use super::output::Row;
use crate::catalog;
use crate::format::{Generation, Segment};
use crate::store::{Retrying, Store};
use crate::utc;

struct SegmentRow {
    replica: String,
    generation: Generation,
    segment: Segment,
}

pub(super) async fn run(arguments: &WalArguments) -> anyhow::Result<u8> {
    let source = listing::source(&arguments.listing).await?;
    let only = arguments.generation;
    let missing = only.map(|generation| {
        format!("there are no WAL segments of a generation {generation}: see `generations`")
    });
    let list = async |name: &str, store: &Retrying<Store>| list(name, store, only).await;
    listing::print(&source, arguments.listing.json, missing, list).await
}

async fn list(
    replica: &str,
    store: &Retrying<Store>,
    only: Option<Generation>,
) -> anyhow::Result<Option<Vec<SegmentRow>>> {
    let generations = match only {
        Some(generation) => vec![generation],
        None => catalog::generations(store).await?,
    };
    let (mut rows, is_empty) = (Vec::new(), generations.is_empty());
    for generation in generations {
        let segments = catalog::segments(store, generation).await?;
        rows.extend(segments.into_iter().map(|segment| SegmentRow {
            replica: replica.to_owned(),
            generation,
            segment,
        }));
    }
    // A generation may have no segments yet.
    Ok((!is_empty).then_some(rows))
}

impl Row for SegmentRow {
    const HEADER: &'static [&'static str] =
        &["replica", "generation", "index", "offset", "size", "created"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.replica.clone(),
            self.generation.to_string(),
            self.segment.pos.index.get().to_string(),
            self.segment.pos.offset.to_string(),
            self.segment.size.to_string(),
            utc::no_earlier(self.segment.created),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "replica": self.replica,
            "generation": self.generation.to_string(),
            "index": self.segment.pos.index.get(),
            "offset": self.segment.pos.offset,
            "size": self.segment.size,
            "created": utc::no_earlier(self.segment.created),
        })
    }
}
