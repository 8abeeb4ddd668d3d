//! The table beside the file that `restore` would make of the same frames.

use proptest::prelude::*;

use super::*;

const GENERATION: Generation = Generation::from_bits(7);
const BYTES: usize = 512;

#[derive(Clone, Copy, Debug)]
enum Step {
    Update(u32, u8),
    Commit(u32),
    EndOfLog,
    /// A process ends, and another one goes on with what is on disk.
    Reopen,
    /// A cut was not finished, and all of it is seen again.
    Sum,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..12_u32, any::<u8>()).prop_map(|(page, fill)| Step::Update(page, fill)),
        4 => (1..12_u32).prop_map(Step::Commit),
        1 => Just(Step::EndOfLog),
        1 => Just(Step::Reopen),
        1 => Just(Step::Sum),
    ]
}

/// A file, by what each of its pages is filled with.
struct Restored {
    pages: Vec<u8>,
    size: usize,
}

impl Restored {
    fn grow(&mut self, pages: u32) {
        let pages = (pages as usize).max(self.pages.len());
        self.pages.resize(pages, 0);
    }

    fn digest(&self) -> Digest {
        (1..).zip(&self.pages[..self.size]).fold(Digest::default(), |digest, (page, &fill)| {
            digest.with(PageDigest::of(GENERATION, page, &[fill; BYTES]))
        })
    }
}

proptest! {
    #[test]
    fn has_the_digest_of_the_restored_file_at_each_commit(
        first in prop::collection::vec(any::<u8>(), 1..6),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pages");
        let size = PageSize::new(512).unwrap();
        let image: Vec<u8> = first.iter().flat_map(|&fill| [fill; BYTES]).collect();
        let count = u32::try_from(first.len()).unwrap();
        let mut table =
            PageTable::build(&path, GENERATION, size, count, image.as_slice()).unwrap();
        let mut restored = Restored { size: first.len(), pages: first };
        for step in steps {
            match step {
                Step::Update(page, fill) => {
                    table.update(page, &[fill; BYTES]).unwrap();
                    restored.grow(page);
                    restored.pages[page as usize - 1] = fill;
                }
                Step::Commit(pages) => {
                    table.commit(pages).unwrap();
                    restored.grow(pages);
                    restored.size = pages as usize;
                }
                Step::EndOfLog => {
                    table.end_of_log().unwrap();
                    restored.pages.truncate(restored.size);
                }
                Step::Reopen => {
                    let pages = u32::try_from(restored.size).unwrap();
                    table.flush().unwrap();
                    table = PageTable::open(&path, GENERATION, size, pages).unwrap().unwrap();
                }
                Step::Sum => table.sum().unwrap(),
            }
            prop_assert_eq!(table.digest(), restored.digest());
        }
        table.end_of_log().unwrap();
        restored.pages.truncate(restored.size);
        for (page, &fill) in (1..).zip(&restored.pages) {
            prop_assert!(table.holds(page, &[fill; BYTES]).unwrap());
            prop_assert!(!table.holds(page, &[fill ^ 1; BYTES]).unwrap());
        }
    }
}
