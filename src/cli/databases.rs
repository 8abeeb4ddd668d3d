use anyhow::Context;
use serde_json::{Value, json};

use super::arguments::DatabasesArguments;
use super::output::{self, Row};
use super::{DONE, logging, replicated, source};

struct DatabaseRow {
    path: String,
    replicas: Vec<String>,
}

pub(super) async fn run(arguments: &DatabasesArguments) -> anyhow::Result<u8> {
    logging::start_for_listing();
    let config = source::load(&arguments.config)?;
    let databases = if arguments.all {
        replicated::databases(&config, None).await?
    } else {
        config.databases().context("look for databases")?
    };
    let rows: Vec<DatabaseRow> = databases
        .iter()
        .map(|database| DatabaseRow {
            path: database.path.display().to_string(),
            replicas: database.replicas.iter().map(|replica| replica.name.clone()).collect(),
        })
        .collect();
    output::print_rows(&rows, arguments.json)?;
    Ok(DONE)
}

impl Row for DatabaseRow {
    const HEADER: &'static [&'static str] = &["path", "replicas"];

    fn cells(&self) -> Vec<String> {
        vec![self.path.clone(), self.replicas.join(",")]
    }

    fn json(&self) -> Value {
        json!({ "path": self.path, "replicas": self.replicas })
    }
}
