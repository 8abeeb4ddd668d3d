use std::io::{self, Read};

use anyhow::anyhow;
use bytes::Bytes;
use memmap2::MmapMut;

use super::memory::{Memory, Room};
use crate::store::{Result, StoreError};

/// The smallest part that S3 accepts, except for the last one.
pub(super) const PART_BYTES_MIN: u64 = 5 << 20;

/// An upload has at most 10,000 parts. Some are left for a source that is longer than announced.
const PARTS_MAX: u64 = 9_000;

/// The largest part. The largest object has 5 TiB, which is fewer than the allowed number of such
/// parts.
const PART_BYTES_MAX: u64 = 640 << 20;

const MIB: u64 = 1 << 20;

/// The size from which on a part has a memory mapping of its own. The allocator of glibc would
/// keep freed memory of that size for the same thread, but each part is read in another thread: 16
/// MiB for nothing. Below this size, it gives back to the system all that it takes.
const MAPPED_MIN: u64 = 128 << 10;

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
    /// The source. `None` at its end.
    source: Option<Box<dyn Read + Send>>,
    part_bytes: u64,
    /// An approximate upper bound of the length of the source.
    size_max: u64,
    memory: Memory,
    /// Memory for the first two parts: the first is sent only when it is known whether there is
    /// another.
    reserved: Option<Room>,
}

/// A part of a source.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// The memory that the part holds until it has been sent.
    pub(super) room: Option<Room>,
}

impl Parts {
    /// Waits until there is enough memory to begin.
    pub(super) async fn new(
        source: Box<dyn Read + Send>,
        part_bytes: u64,
        size_max: u64,
        memory: &Memory,
    ) -> Self {
        let reserved = match size_max {
            0..MAPPED_MIN => None,
            _ if size_max < part_bytes => memory.room(1, size_max).await,
            _ => memory.room(2, part_bytes).await,
        };
        let memory = memory.clone();
        Self { source: Some(source), part_bytes, size_max, memory, reserved }
    }

    /// Reads the next part; all but the last have the same length, and none is empty.
    pub(super) async fn next(&mut self) -> Result<Option<Part>> {
        let Some(mut source) = self.source.take() else {
            return Ok(None);
        };
        let bytes = self.part_bytes.min(self.size_max);
        let room = match self.reserved.as_mut().and_then(|reserved| reserved.for_part(bytes)) {
            Some(room) => Some(room),
            None if bytes < MAPPED_MIN => None,
            None => self.memory.room(1, bytes).await,
        };
        let (part_bytes, size_max) = (self.part_bytes, self.size_max);
        let read = move || {
            let part = read_part(&mut source, part_bytes, size_max);
            part.map(|part| (part, source)).map_err(StoreError::Source)
        };
        let (part, source) = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            Err(StoreError::Unavailable(anyhow!(
                "reading what is to be stored ended early: {error}"
            )))
        })?;
        if part.len() as u64 == part_bytes {
            self.source = Some(source);
        } else {
            self.reserved = None;
        }
        Ok((!part.is_empty()).then_some(Part { bytes: part, room }))
    }
}

/// Reads up to `part_bytes` of a source of about `size_max` bytes at most.
fn read_part(source: &mut dyn Read, part_bytes: u64, size_max: u64) -> io::Result<Bytes> {
    let mut source = source.take(part_bytes);
    if size_max < MAPPED_MIN {
        // One byte more, for the read that finds the end.
        let mut part = Vec::with_capacity(usize::try_from(size_max).unwrap_or_default() + 1);
        source.read_to_end(&mut part)?;
        return Ok(part.into());
    }
    // Pages of a mapping that are never written take no memory.
    let mut part = MmapMut::map_anon(usize::try_from(part_bytes).map_err(io::Error::other)?)?;
    let mut length = 0;
    loop {
        match source.read(&mut part[length..]) {
            Ok(0) => return Ok(Bytes::from_owner(part).slice(..length)),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::super::memory::UNIT_BYTES;
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
        for unit in [1, MAPPED_MIN] {
            for (length, expected) in
                [(0, vec![]), (3, vec![3]), (4, vec![4]), (5, vec![4, 1]), (8, vec![4, 4])]
            {
                let (length, part_bytes) = (unit * length, unit * 4);
                let source = Box::new(io::repeat(1).take(length));
                let mut parts = Parts::new(source, part_bytes, length, &Memory::default()).await;
                let mut found = Vec::new();
                while let Some(Part { bytes, .. }) = parts.next().await.unwrap() {
                    assert!(bytes.iter().all(|&byte| byte == 1));
                    found.push(bytes.len() as u64 / unit);
                }
                assert_eq!(found, expected);
            }
        }
    }

    /// Without a limit, 128 snapshots at a time would take 128 times three parts.
    #[tokio::test]
    async fn many_sources_share_the_memory_of_two_parts() {
        let part_bytes = 4 * UNIT_BYTES;
        let memory = Memory::of(8);
        let in_memory = Cell::new(0);
        let send_all = async || {
            let source = Box::new(io::repeat(1).take(3 * part_bytes));
            let mut parts = Parts::new(source, part_bytes, 3 * part_bytes, &memory).await;
            let (first, second) = (parts.next().await.unwrap(), parts.next().await.unwrap());
            let mut sent = 0;
            let mut next = [first, second].into_iter().flatten().collect::<Vec<_>>();
            while !next.is_empty() {
                in_memory.update(|parts| parts + next.len());
                assert!(in_memory.get() <= 2);
                tokio::task::yield_now().await;
                in_memory.update(|parts| parts - next.len());
                sent += next.len();
                drop(next);
                next = parts.next().await.unwrap().into_iter().collect();
            }
            assert_eq!(sent, 3);
        };
        let all = join_all((0..20).map(|_| send_all()));
        tokio::time::timeout(Duration::from_mins(1), all).await.unwrap();
    }
}
