use std::collections::HashMap;

/// Which frames of a part of a WAL to copy, chosen by the pages that they hold.
///
/// Takes five bytes for each frame, and about a bit for each page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSelection {
    /// The page of each frame.
    pages: Vec<u32>,
    selected: Vec<bool>,
}

impl FrameSelection {
    /// All frames. `pages` has the page of each of them, in their order.
    pub fn all(pages: Vec<u32>) -> Self {
        let selected = vec![true; pages.len()];
        Self { pages, selected }
    }

    /// The frames that hold the newest version of their page. Applying only these, in any order,
    /// gives the same result as applying all. The last frame is always among them.
    pub fn newest(pages: Vec<u32>) -> Self {
        let mut seen = PageSet::default();
        let mut selected: Vec<bool> = pages.iter().rev().map(|&page| seen.insert(page)).collect();
        selected.reverse();
        Self { pages, selected }
    }

    /// How many frames are selected.
    pub fn count(&self) -> u64 {
        self.selected.iter().filter(|selected| **selected).count() as u64
    }

    /// The page of each frame, and whether the frame is selected, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.pages.iter().copied().zip(self.selected.iter().copied())
    }
}

/// A set of pages. It takes little memory if they are neighbours.
#[derive(Debug, Default)]
struct PageSet(HashMap<u32, u64>);

impl PageSet {
    /// Returns whether `page` is new.
    fn insert(&mut self, page: u32) -> bool {
        let (word, bit) = (self.0.entry(page / 64).or_default(), 1 << (page % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The numbers of the frames that are selected.
    fn selected(selection: &FrameSelection) -> Vec<usize> {
        let frames = selection.iter().enumerate();
        frames.filter(|(_, (_, selected))| *selected).map(|(frame, _)| frame).collect()
    }

    #[test]
    fn leaves_out_what_is_written_again_later() {
        let selection = FrameSelection::newest(vec![7, 2, 7, 3, 2, 2, 9]);
        assert_eq!(selected(&selection), [2, 3, 5, 6]);
        assert_eq!(selection.count(), 4);
        assert_eq!(selected(&FrameSelection::all(vec![7, 7, 7])), [0, 1, 2]);
        assert_eq!(FrameSelection::newest(Vec::new()).count(), 0);
    }

    proptest! {
        #[test]
        fn leads_to_what_all_of_them_lead_to(
            pages in prop::collection::vec(prop_oneof![1..5_u32, 60..70_u32], 0..60),
        ) {
            let newest = |frames: &mut dyn Iterator<Item = usize>| -> BTreeMap<u32, usize> {
                frames.map(|frame| (pages[frame], frame)).collect()
            };
            let selected = selected(&FrameSelection::newest(pages.clone()));
            prop_assert_eq!(selected.last().map_or(0, |last| last + 1), pages.len());
            let found = newest(&mut selected.iter().copied());
            prop_assert_eq!(found.len(), selected.len(), "each page once");
            prop_assert_eq!(found, newest(&mut (0..pages.len())));
        }
    }
}
