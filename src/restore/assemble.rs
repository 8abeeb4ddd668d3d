//! Makes a file from a plan, in a thread that may block.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow};
use tracing::{debug, warn};

use super::apply::{Applied, Applier, ApplyError};
use super::contents::Contents;
use super::digest::digest_file;
use super::fetch::Fetched;
use super::output::{Output, PublishError};
use super::plan::Plan;
use super::replica::Wholeness;
use super::stray::Unlinked;
use super::written::Written;
use super::{RestoreError, Verdict, is_defect};
use crate::format::{Key, WalIndex, WalPos};
use crate::provenance::Provenance;
use crate::sqlite::quick_check;
use crate::utc;

/// Why a plan failed, by what may work instead.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another snapshot.
    Snapshot(anyhow::Error),
    /// Another replica.
    Replica(anyhow::Error),
    /// Nothing: the cause is not in the replica.
    Here(RestoreError),
}

impl Failure {
    fn here(error: impl Into<anyhow::Error>) -> Self {
        Self::Here(RestoreError::Other(error.into()))
    }

    /// The log whose first segment does not continue what comes before it.
    pub(super) fn begun_log(&self) -> Option<WalIndex> {
        let (Self::Snapshot(error) | Self::Replica(error)) = self else { return None };
        match error.downcast_ref()? {
            ApplyError::Object { key: Key::Segment { pos, .. }, cause }
                if pos.offset == 0 && cause.is::<Unlinked>() =>
            {
                Some(pos.index)
            }
            _ => None,
        }
    }
}

/// Where the database is to appear.
pub(super) struct Destination {
    pub(super) path: PathBuf,
    /// Whether an existing database is replaced.
    pub(super) replace: bool,
    /// What to note on the database file.
    pub(super) provenance: Option<Provenance>,
    /// The position that the database must be at, if it is known.
    pub(super) position: Option<WalPos>,
}

/// Makes the database of `plan` at the path of `destination`, replacing another one there if asked
/// to.
pub(super) fn assemble(
    plan: &Plan,
    wholeness: Wholeness,
    contents: &mut Contents,
    destination: &Destination,
    fetched: &Fetched,
) -> Result<(Applied, Verdict), Failure> {
    let path = destination.path.as_path();
    let output = Output::create(path).map_err(Failure::here)?;
    let (applied, verdict) = thread::scope(|scope| {
        let mut file = Written::new(output.file(), scope).map_err(Failure::here)?;
        let fail = |error| explain(error, plan, path);
        let applied = apply(plan, contents, &output, &mut file).map_err(fail)?;
        expect_position(plan, applied.position, destination.position)?;
        // The rest is written to the disk while the whole file is compared.
        file.request();
        let verdict = judge(plan, &applied, &output, fetched)?;
        file.finish().map_err(|error| fail(ApplyError::Image(error)))?;
        Ok((applied, verdict))
    })?;
    if verdict == Verdict::Unsealed && wholeness == Wholeness::Unsure {
        warn!("no WAL follows the snapshot of Litestream: asking SQLite whether it is whole");
        let unchecked = quick_check(output.partial()).map_err(|error| {
            Failure::Snapshot(error.context(format!("{}: not whole", plan.last_key())))
        })?;
        if !unchecked.is_empty() {
            let unchecked = unchecked.join("; ");
            warn!(unchecked, "SQLite could not check all of it without the application");
        }
    }
    fetched.check().map_err(Failure::here)?;
    if let Some(provenance) = &destination.provenance
        && let Err(error) = provenance.note(output.file())
    {
        debug!(%error, "this file system does not keep where the database was restored from");
    }
    match output.publish(destination.replace) {
        Ok(()) => Ok((applied, verdict)),
        Err(PublishError::Exists) => Err(Failure::Here(RestoreError::OutputExists(path.into()))),
        Err(PublishError::Other(error)) => Err(Failure::here(error)),
    }
}

fn apply(
    plan: &Plan,
    contents: &mut Contents,
    output: &Output,
    file: &mut Written,
) -> Result<Applied, ApplyError> {
    let spill = output
        .scratch()
        .map_err(|error| ApplyError::Image(io::Error::other(format!("{error:#}"))))?;
    let mut applier = Applier::new(file, spill, plan.generation, plan.snapshot.index);
    applier.snapshot_content(contents.next_object())?;
    for segment in plan.segments.iter() {
        applier.segment_content(segment.pos, contents.next_object())?;
    }
    applier.finish()
}

/// Refuses another position than the one that was asked for. Nothing else shows that the last
/// objects are missing, if all the others are intact.
fn expect_position(plan: &Plan, found: WalPos, asked: Option<WalPos>) -> Result<(), Failure> {
    let Some(asked) = asked.filter(|asked| *asked != found) else { return Ok(()) };
    let generation = plan.generation;
    Err(Failure::Replica(anyhow!(
        "generation {generation} leads to {found} and not to {asked}: what was stored between them \
         is missing. `-generation {generation}` restores what there is"
    )))
}

/// Compares the file with the digest in the last seal.
fn judge(
    plan: &Plan,
    applied: &Applied,
    output: &Output,
    fetched: &Fetched,
) -> Result<Verdict, Failure> {
    let Some(seal) = &applied.seal else { return Ok(Verdict::Unsealed) };
    let digest = match applied.page_size {
        Some(page_size) => {
            let check = || fetched.check();
            digest_file(output.file(), plan.generation, page_size, seal.pages, check)
                .context("cannot read the restored file again")
                .map_err(Failure::here)?
        }
        None => crate::format::Digest::default(),
    };
    if digest == seal.digest {
        return Ok(Verdict::Identical { committed: seal.committed });
    }
    let cause = format!(
        "the restored database is not the one that was replicated: its digest is {digest}, but {} \
         was sealed",
        seal.digest
    );
    Err(Failure::Replica(ApplyError::object(plan.last_key(), cause).into()))
}

/// Adds what can be done if the segment at `pos` is damaged.
fn with_way_out(error: anyhow::Error, plan: &Plan, pos: WalPos) -> anyhow::Error {
    match plan.segments.iter().rfind(|segment| segment.pos < pos) {
        Some(before) if is_defect(&error) => {
            let time = utc::no_earlier(before.created);
            error.context(format!("what was stored until then can be restored: -timestamp {time}"))
        }
        _ => error,
    }
}

fn explain(error: ApplyError, plan: &Plan, path: &Path) -> Failure {
    let first = plan.segments.first().map(|segment| segment.pos);
    match error {
        // The fault may be the snapshot's.
        ApplyError::Object { key: Key::Segment { pos, .. }, .. } if Some(pos) == first => {
            Failure::Snapshot(error.into())
        }
        ApplyError::Object { key: Key::Snapshot { .. }, .. } => Failure::Snapshot(error.into()),
        ApplyError::Object { key: Key::Segment { pos, .. }, .. } => {
            Failure::Replica(with_way_out(error.into(), plan, pos))
        }
        ApplyError::Image(error) if error.kind() == io::ErrorKind::StorageFull => Failure::here(
            anyhow!("no space left on the disk of {}: make room and restore again", path.display()),
        ),
        ApplyError::Image(error) => {
            Failure::here(anyhow!(error).context(format!("cannot write {}", path.display())))
        }
    }
}
