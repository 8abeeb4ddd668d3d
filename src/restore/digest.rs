use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

use crate::format::{Digest, Generation, PageDigest};
use crate::wal::PageSize;

const READ_BYTES: usize = 1 << 20;
const THREADS_MAX: usize = 8;

/// The digest of the database in `file`, which has `pages` pages.
///
/// `check` is called now and then: an error from it ends the computation.
pub(super) fn digest_file(
    file: &File,
    generation: Generation,
    page_size: PageSize,
    pages: u32,
    check: impl Fn() -> io::Result<()> + Sync,
) -> io::Result<Digest> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let share = pages.div_ceil(u32::try_from(threads).unwrap_or(1)).max(1);
    let check = &check;
    thread::scope(|scope| {
        let ranges = (0..pages).step_by(share as usize).map(|first| {
            let last = pages.min(first.saturating_add(share));
            scope.spawn(move || digest_pages(file, generation, page_size, first..last, check))
        });
        let parts: Vec<_> = ranges.collect();
        parts.into_iter().try_fold(Digest::default(), |sum, part| {
            let part = part.join().map_err(|_| io::Error::other("a thread ended in a panic"))??;
            Ok(Digest(sum.0.wrapping_add(part.0)))
        })
    })
}

/// The sum of the digests of `pages`, which are counted from 0 here.
fn digest_pages(
    file: &File,
    generation: Generation,
    page_size: PageSize,
    mut pages: std::ops::Range<u32>,
    check: impl Fn() -> io::Result<()>,
) -> io::Result<Digest> {
    let mut buffer = vec![0; READ_BYTES];
    let size = page_size.bytes();
    let mut digest = Digest::default();
    while !pages.is_empty() {
        check()?;
        let count = pages.len().min(READ_BYTES / size);
        let content = &mut buffer[..count * size];
        file.read_exact_at(content, u64::from(pages.start) * size as u64)?;
        // In this order: the other way round, `zip` would consume one page number too many.
        for (content, page) in content.chunks_exact(size).zip(pages.by_ref()) {
            digest = digest.with(PageDigest::of(generation, page + 1, content));
        }
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_sum_over_all_pages_however_they_are_shared_out() {
        let generation = Generation::from_bits(7);
        let page_size = PageSize::new(65536).unwrap();
        for pages in [0, 1, 2, 15, 16, 17, 100] {
            let contents: Vec<Vec<u8>> =
                (1..=pages).map(|page| vec![page; page_size.bytes()]).collect();
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&contents.concat(), 0).unwrap();
            let expected =
                (1..).zip(&contents).fold(Digest::default(), |digest, (page, content)| {
                    digest.with(PageDigest::of(generation, page, content))
                });
            let digest = digest_file(&file, generation, page_size, pages.into(), || Ok(()));
            assert_eq!(digest.unwrap(), expected, "{pages} pages");
        }
    }
}
