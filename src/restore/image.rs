use std::collections::BTreeMap;
use std::io;

use crate::wal::PageSize;

/// A database file that is being assembled.
pub trait Image {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts off everything beyond `bytes`, or extends with zeros.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
}

/// The most bytes that are gathered before they are written.
const DIRTY_BYTES_MAX: usize = 8 << 20;
/// The longest single write.
const RUN_BYTES_MAX: usize = 1 << 20;

/// Committed pages on their way to an image.
///
/// The newest version of each page wins, and neighbours are written together, so that many small
/// transactions on the same pages cost no more than one.
#[derive(Debug)]
pub(super) struct DirtyPages {
    page_size: PageSize,
    /// Where in `content` the newest version of a page is.
    places: BTreeMap<u32, usize>,
    content: Vec<u8>,
}

impl DirtyPages {
    pub(super) fn new(page_size: PageSize) -> Self {
        Self { page_size, places: BTreeMap::new(), content: Vec::new() }
    }

    /// Takes the content of a page. Pages count from 1.
    pub(super) fn put(
        &mut self,
        page: u32,
        content: &[u8],
        image: &mut impl Image,
    ) -> io::Result<()> {
        if let Some(&place) = self.places.get(&page) {
            self.content[place..place + content.len()].copy_from_slice(content);
            return Ok(());
        }
        if self.content.len() + content.len() > DIRTY_BYTES_MAX {
            self.flush(image)?;
        }
        self.places.insert(page, self.content.len());
        self.content.extend_from_slice(content);
        Ok(())
    }

    pub(super) fn flush(&mut self, image: &mut impl Image) -> io::Result<()> {
        let size = self.page_size.bytes();
        let mut run = Vec::new();
        let mut start = 0;
        for (&page, &place) in &self.places {
            let offset = u64::from(page - 1) * size as u64;
            if offset != start + run.len() as u64 || run.len() + size > RUN_BYTES_MAX {
                image.write_at(&run, start)?;
                run.clear();
                start = offset;
            }
            run.extend_from_slice(&self.content[place..place + size]);
        }
        image.write_at(&run, start)?;
        self.places.clear();
        self.content.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Writes(Vec<(u64, Vec<u8>)>);

    impl Image for Writes {
        fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
            if !bytes.is_empty() {
                self.0.push((offset, bytes.to_vec()));
            }
            Ok(())
        }

        fn set_len(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writes_the_newest_version_of_each_page_and_neighbours_together() {
        let mut image = Writes::default();
        let mut dirty = DirtyPages::new(PageSize::new(512).unwrap());
        for (page, byte) in [(4, 1), (2, 2), (3, 3), (4, 4), (9, 5)] {
            dirty.put(page, &[byte; 512], &mut image).unwrap();
        }
        dirty.flush(&mut image).unwrap();
        dirty.flush(&mut image).unwrap();
        let run = [[2; 512], [3; 512], [4; 512]].concat();
        assert_eq!(image.0, [(512, run), (8 * 512, vec![5; 512])]);
    }

    #[test]
    fn keeps_the_gathered_pages_bounded() {
        let mut image = Writes::default();
        let mut dirty = DirtyPages::new(PageSize::new(65536).unwrap());
        let content = vec![7; 65536];
        for page in 1..=1000 {
            dirty.put(page, &content, &mut image).unwrap();
            assert!(dirty.content.len() <= DIRTY_BYTES_MAX);
        }
        dirty.flush(&mut image).unwrap();
        assert_eq!(image.0.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), 1000 * 65536);
        assert!(image.0.iter().all(|(_, bytes)| bytes.len() <= RUN_BYTES_MAX));
    }
}
