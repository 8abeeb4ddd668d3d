use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use twox_hash::XxHash3_128;

use super::Generation;

/// The digest of one page of a database, together with its number.
///
/// 128 bits of XXH3, keyed by generation and page number, so that equal pages at different places
/// have different digests, and pages that change places are noticed. This guards against
/// accidents, not against somebody who can write to the replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageDigest(pub u128);

impl PageDigest {
    /// `page` counts from 1.
    pub fn of(generation: Generation, page: u32, content: &[u8]) -> Self {
        // An odd constant, so that page numbers and generations cannot cancel out.
        let seed = generation.bits() ^ u64::from(page).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(XxHash3_128::oneshot_with_seed(seed, content))
    }
}

/// The digest of a whole database: the sum of the digests of its pages.
///
/// It is kept up to date from the changed pages alone, and does not depend on the order of the
/// changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u128);

impl Digest {
    #[must_use]
    pub fn with(self, page: PageDigest) -> Self {
        Self(self.0.wrapping_add(page.0))
    }

    #[must_use]
    pub fn without(self, page: PageDigest) -> Self {
        Self(self.0.wrapping_sub(page.0))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(pages: &[&[u8]]) -> Digest {
        let generation = Generation::from_bits(7);
        (1..).zip(pages).fold(Digest::default(), |sum, (page, content)| {
            sum.with(PageDigest::of(generation, page, content))
        })
    }

    #[test]
    fn sees_pages_that_changed_places() {
        assert_ne!(digest(&[b"a", b"b"]), digest(&[b"b", b"a"]));
        assert_ne!(digest(&[b"a", b"a"]), digest(&[b"b", b"b"]));
    }

    #[test]
    fn forgets_a_page_that_is_taken_away() {
        let page = PageDigest::of(Generation::from_bits(7), 2, b"b");
        assert_eq!(digest(&[b"a", b"b"]).without(page), digest(&[b"a"]));
    }
}
