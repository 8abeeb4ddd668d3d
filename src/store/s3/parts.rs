use std::io::Read;

use anyhow::anyhow;

use crate::store::{Result, StoreError};

/// The least that S3 takes, but for the last part.
pub(super) const PART_BYTES_MIN: u64 = 5 << 20;

/// An upload has at most 10,000 parts. Some are left for a source that is longer than it was said
/// to be.
const PARTS_MAX: u64 = 9_000;

/// The largest object has 5 TiB, which is fewer parts than may be.
const PART_BYTES_MAX: u64 = 640 << 20;

const MIB: u64 = 1 << 20;

/// Chooses the size of parts for a source of up to `size_max` bytes.
pub(super) fn part_bytes(size_max: u64) -> u64 {
    size_max
        .div_ceil(PARTS_MAX)
        .div_ceil(MIB)
        .saturating_mul(MIB)
        .clamp(PART_BYTES_MIN, PART_BYTES_MAX)
}

/// A source, read part by part in threads that may block.
pub(super) struct Parts {
    /// `None` at the end.
    source: Option<Box<dyn Read + Send>>,
    part_bytes: u64,
    /// Room for a part, unless all of the source is smaller.
    capacity: usize,
}

impl Parts {
    pub(super) fn new(source: Box<dyn Read + Send>, part_bytes: u64, size_max: u64) -> Self {
        // One more, for the read that finds the end.
        let capacity = usize::try_from(part_bytes.min(size_max) + 1).unwrap_or_default();
        Self { source: Some(source), part_bytes, capacity }
    }

    /// Reads the next part; all but the last have the same length, and none is empty.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(mut source) = self.source.take() else {
            return Ok(None);
        };
        let (part_bytes, capacity) = (self.part_bytes, self.capacity);
        let read = move || {
            let mut part = Vec::with_capacity(capacity);
            let outcome = source.by_ref().take(part_bytes).read_to_end(&mut part);
            outcome.map(|_| (part, source)).map_err(StoreError::Source)
        };
        let (part, source) = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            Err(StoreError::Unavailable(anyhow!(
                "reading what is to be stored ended early: {error}"
            )))
        })?;
        if part.len() as u64 == part_bytes {
            self.source = Some(source);
        }
        Ok((!part.is_empty()).then_some(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_the_number_of_parts() {
        const GIB: u64 = 1 << 30;
        for (size_max, expected) in [
            (0, 5 * MIB),
            (GIB, 5 * MIB),
            (9_000 * 5 * MIB, 5 * MIB),
            (9_000 * 5 * MIB + 1, 6 * MIB),
            (1024 * GIB, 117 * MIB),
            (u64::MAX, PART_BYTES_MAX),
        ] {
            assert_eq!(part_bytes(size_max), expected, "{size_max}");
        }
    }

    #[tokio::test]
    async fn cuts_a_source_into_equal_parts() {
        for (length, expected) in
            [(0, vec![]), (3, vec![3]), (4, vec![4]), (5, vec![4, 1]), (8, vec![4, 4])]
        {
            let mut parts = Parts::new(Box::new(std::io::repeat(1).take(length)), 4, length);
            let mut found = Vec::new();
            while let Some(part) = parts.next().await.unwrap() {
                found.push(part.len());
            }
            assert_eq!(found, expected);
        }
    }
}
