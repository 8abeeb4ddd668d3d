use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::arguments::VerifyArguments;
use super::output::{self, Row};
use super::progress_bar::ProgressBar;
use super::source::{self, Source};
use super::{DONE, forks, logging, replicated};
use crate::catalog;
use crate::format::{Generation, Key, Proof, WalPos};
use crate::replicate::acknowledged;
use crate::restore::{Progress, Reporting};
use crate::store::Location;
use crate::utc;
use crate::verify::{Defect, Verified, VerifyOptions, find_hidden, verify};

/// Requests at a time.
const PARALLELISM: usize = 16;

/// Reports progress in lines, if there is no terminal to draw a bar on.
const LINES: Reporting =
    Reporting { interval: Duration::from_secs(2), report: print_progress, announced: false };

struct VerifiedRow {
    /// The database, unless the replica was named by its URL.
    database: Option<String>,
    replica: String,
    verified: Verified,
}

pub(super) async fn run(arguments: &VerifyArguments) -> anyhow::Result<u8> {
    // Standard output is for the requested table.
    logging::start_for_listing();
    let bar = ProgressBar::start();
    let reporting = bar.as_ref().map_or(LINES, |_| ProgressBar::VERIFYING);
    let sources = sources(arguments).await?;
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for source in &sources {
        for (name, location) in &source.replicas {
            match verify_replica(source, name, location, arguments, reporting).await {
                Ok(verified) => rows.extend(verified),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
    }
    drop(bar);
    output::print_rows(&rows, arguments.json)?;
    if !arguments.json {
        output::print(&defects(&rows))?;
    }
    conclude(&rows, failures, arguments)
}

async fn sources(arguments: &VerifyArguments) -> anyhow::Result<Vec<Source>> {
    let named = &arguments.source;
    match (&named.name, named.fork) {
        (Some(_), _) => Ok(vec![Source::find(named).await?]),
        (None, None) => {
            let (config, replica) = (source::load(&named.config)?, named.replica.as_deref());
            let databases = if arguments.all {
                replicated::databases(&config, replica).await?
            } else {
                config.databases().context("look for databases")?
            };
            Source::all(&databases, replica, config.logging)
        }
        (None, Some(_)) => bail!("-fork is about one database: name it, or the URL of its replica"),
    }
}

async fn verify_replica(
    source: &Source,
    name: &str,
    location: &Location,
    arguments: &VerifyArguments,
    reporting: Reporting,
) -> anyhow::Result<Vec<VerifiedRow>> {
    let options = VerifyOptions {
        generation: arguments.generation,
        full: arguments.full.then_some(reporting),
        parallelism: PARALLELISM,
    };
    // Read before listing: the replica may hold more by then, but never less.
    let acknowledged = || match &source.state_directory {
        Some(directory) => acknowledged(directory, name, arguments.source.fork),
        None => Ok(None),
    };
    let reached = acknowledged()?;
    let store = source::open(name, location).await?;
    let store = Arc::new(store);
    let context = || format!("cannot verify replica {name:?} at {location}");
    let record = catalog::proof_record(&*store).await.with_context(context)?;
    let proof = record.transpose().with_context(context)?.and_then(|record| record.last);
    forks::mention(name, &*store).await;
    let mut verified = verify(name, Arc::clone(&store), &options).await.with_context(context)?;
    let wanted = |generation| arguments.generation.is_none_or(|only| only == generation);
    if verified.len() > 1 {
        let replicated = || Some(acknowledged().ok()??.0);
        let hidden = find_hidden(&*store, replicated).await.with_context(context)?;
        if let Some(defect) = hidden {
            let of = |it: &&mut Verified| it.generation == defect.object.generation();
            if let Some(verified) = verified.iter_mut().find(of) {
                verified.defects.push(defect);
            }
        }
    }
    if let Some((generation, end)) = reached.filter(|(generation, _)| wanted(*generation))
        && !verified.is_empty()
    {
        if !verified.iter().any(|verified| verified.generation == generation) {
            verified.push(missing(generation, end));
        }
        let known = format!("the store had acknowledged everything up to {end}");
        check_end(&mut verified, generation, end, &known);
    }
    if let Some(Proof { generation, position, proven }) = proof {
        // A generation that is missing has expired since.
        let known = format!("{position} was proven to be restorable at {}", utc::seconds(proven));
        check_end(&mut verified, generation, position, &known);
    }
    // A requested generation may be in another replica.
    if verified.is_empty() && arguments.generation.is_none() {
        bail!("no matching backups found in replica {name:?} at {location}");
    }
    let database = source.database.as_ref().map(|path| path.display().to_string());
    let row =
        |verified| VerifiedRow { database: database.clone(), replica: name.to_owned(), verified };
    Ok(verified.into_iter().map(row).collect())
}

fn print_progress(progress: Progress) {
    let total = progress.total.div_ceil(1_000_000);
    let (percent, rate) = (progress.percent(), progress.rate());
    output::print_note(&format!("verifying: {percent} % of {total} MB, {rate:.1} MB/s"));
}

/// Adds a defect if the newest objects of a generation are missing, which no other object shows.
/// `known` says how we know that it reached `end`.
fn check_end(verified: &mut [Verified], generation: Generation, end: WalPos, known: &str) {
    let of = verified.iter_mut().find(|verified| verified.generation == generation);
    let Some((of, found)) = of.and_then(|of| Some((&mut of.defects, of.end?))) else { return };
    let object = Key::Segment { generation, pos: found };
    if found < end && of.iter().all(|defect| defect.object != object) {
        of.push(Defect { object, problem: format!("it is missing: {known}") });
    }
}

/// The result for a generation of which nothing is left.
fn missing(generation: Generation, end: WalPos) -> Verified {
    let defect = Defect {
        object: Key::Segment { generation, pos: WalPos::start_of(end.index) },
        problem: format!(
            "it is missing, and all others of its generation are: the store had acknowledged \
             everything up to {end}"
        ),
    };
    Verified {
        generation,
        from: None,
        to: None,
        end: None,
        objects: 0,
        bytes: 0,
        unsealed: 0,
        defects: vec![defect],
    }
}

/// A line of text for each defect.
fn defects(rows: &[VerifiedRow]) -> String {
    let lines = rows.iter().flat_map(|row| {
        let defects = row.verified.defects.iter();
        let database = row.database.as_ref().map(|database| format!("{database}: "));
        let place = database.unwrap_or_default() + &row.replica;
        defects.map(move |defect| format!("{place}: {defect}\n"))
    });
    lines.collect()
}

fn conclude(
    rows: &[VerifiedRow],
    mut failures: Vec<String>,
    arguments: &VerifyArguments,
) -> anyhow::Result<u8> {
    if rows.is_empty() && failures.is_empty() {
        match arguments.generation {
            Some(generation) => {
                bail!("no matching backups found: there is no generation {generation}")
            }
            None => bail!(
                "no matching backups found: no database of the configuration is there; -all looks \
                 for them in the replicas"
            ),
        }
    }
    match rows.iter().map(|row| row.verified.defects.len()).sum() {
        0 => (),
        1 => failures.insert(0, "1 defect found".to_owned()),
        defects => failures.insert(0, format!("{defects} defects found")),
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(DONE)
}

impl VerifiedRow {
    fn verdict(&self) -> String {
        let Verified { unsealed, defects, .. } = &self.verified;
        match (defects.len(), unsealed) {
            (0, 0) => "ok".to_owned(),
            (0, unsealed) => format!("ok, {unsealed} not sealed"),
            (1, _) => "1 defect".to_owned(),
            (defects, _) => format!("{defects} defects"),
        }
    }
}

impl Row for VerifiedRow {
    const HEADER: &'static [&'static str] =
        &["database", "replica", "generation", "from", "to", "objects", "bytes", "verdict"];

    fn cells(&self) -> Vec<String> {
        let time = |time: Option<SystemTime>| time.map_or("-".to_owned(), utc::no_earlier);
        vec![
            self.database.clone().unwrap_or("-".to_owned()),
            self.replica.clone(),
            self.verified.generation.to_string(),
            time(self.verified.from),
            time(self.verified.to),
            self.verified.objects.to_string(),
            self.verified.bytes.to_string(),
            self.verdict(),
        ]
    }

    fn json(&self) -> Value {
        let Verified { generation, from, to, end, objects, bytes, unsealed, defects } =
            &self.verified;
        let defects: Vec<Value> = defects
            .iter()
            .map(|defect| json!({"object": defect.object.to_string(), "problem": defect.problem}))
            .collect();
        json!({
            "database": self.database,
            "replica": self.replica,
            "generation": generation.to_string(),
            "from": from.map(utc::no_earlier),
            "to": to.map(utc::no_earlier),
            "end": end.map(|end| end.to_string()),
            "objects": objects,
            "bytes": bytes,
            "unsealed": unsealed,
            "ok": defects.is_empty(),
            "defects": defects,
        })
    }
}
