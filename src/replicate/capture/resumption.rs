use std::io;

use super::earlier::EarlierPages;
use super::{Capture, UNKNOWN, boot};
use crate::replicate::cancellation::Cancellation;
use crate::replicate::cursor::Saved;
use crate::replicate::hold::Hold;
use crate::replicate::marks::Marks;
use crate::replicate::pages::PageTable;
use crate::replicate::staging::Staging;
use crate::replicate::state_directory::StateDirectory;
use crate::sqlite::FileIdentity;
use crate::wal::PageSize;

impl Capture {
    /// Takes up the generation that an earlier process left. `None` if there is none.
    ///
    /// `staged` is what waits for each replica. What cannot be trusted is removed: segments that
    /// were cut but not counted, and after a power loss all of them.
    pub(in crate::replicate) fn resume(
        state: &StateDirectory,
        page_size: PageSize,
        file: FileIdentity,
        staged: &[Staging],
    ) -> anyhow::Result<Option<Self>> {
        let (saved, boot) = (Saved::load(&state.cursor())?, boot());
        for staging in staged {
            discard_doubtful(staging, saved.as_ref(), &boot)?;
        }
        let Some(Saved { mut cursor, boot: before, file: other, written, .. }) = saved else {
            return Ok(None);
        };
        let same_boot = before == boot;
        let is_known = same_boot && other == file;
        if !is_known {
            // A loss of power may have taken the database back, and so may a restore.
            cursor.marks = Marks::default();
        }
        if cursor.page_size != page_size {
            return Ok(None);
        }
        let table = PageTable::open(&state.pages(), cursor.generation, page_size, cursor.pages)?;
        let Some(pages) = table else { return Ok(None) };
        let ahead = pages.digest() != cursor.digest;
        let was_cutting = state.partial_segment().exists();
        if ahead && !(same_boot && was_cutting) {
            // The pages that the table took may be lost and never be seen again; or the table is
            // damaged.
            return Ok(None);
        }
        Ok(Some(Self {
            cursor,
            pages,
            hold: Hold::resume(),
            earlier: EarlierPages::default(),
            ahead: ahead.then_some(UNKNOWN),
            altered: None,
            idle: None,
            file,
            written: written.filter(|_| is_known),
            same_boot,
            boot,
            cancellation: Cancellation::default(),
        }))
    }
}

/// Removes segments that were cut and not counted, and those that a loss of power may have damaged:
/// all of them, unless the last stop is known to have been clean.
fn discard_doubtful(staging: &Staging, saved: Option<&Saved>, boot: &str) -> io::Result<()> {
    let Some(Saved { cursor, boot: written, clean, .. }) = saved else {
        return staging.discard_all_but(None);
    };
    if written != boot {
        staging.discard_all_but(Some(cursor.generation).filter(|_| *clean))?;
    }
    staging.discard_from(cursor.generation, cursor.pos)
}
