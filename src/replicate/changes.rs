//! What changed in a database while nobody watched.

use super::capture::Capture;
use super::image::Image;

/// How an image differs from what the replicas hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// Not at all: page by page it is what was captured last.
    None,
    /// In these pages; the last of them stands in for a change of size alone.
    Pages(Vec<u32>),
    /// In most pages: a snapshot is as cheap, and it may be another database altogether.
    Most,
}

/// Compares every page of `image` with its digest at the cursor.
pub(super) fn changes(capture: &mut Capture, image: &Image) -> std::io::Result<Changes> {
    // With less than half in common, it is another database rather than a changed one.
    let common_min = image.pages().max(capture.cursor().pages).div_ceil(2);
    let Some(changed_max) = image.pages().checked_sub(common_min) else {
        return Ok(Changes::Most);
    };
    let mut changed = Vec::new();
    let (mut next, mut run) = (1, Vec::new());
    loop {
        let first = next;
        image.read_run(&mut next, &mut run)?;
        if run.is_empty() {
            break;
        }
        changed.extend(capture.changed_pages(first, &run)?);
        if changed.len() > changed_max as usize {
            return Ok(Changes::Most);
        }
    }
    if changed.is_empty() && image.pages() == capture.cursor().pages {
        return Ok(Changes::None);
    }
    if changed.is_empty() {
        changed.push(image.pages());
    }
    Ok(Changes::Pages(changed))
}
