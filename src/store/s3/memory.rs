use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which memory is counted.
pub(super) const UNIT_BYTES: u64 = 64 << 10;

/// 64 MiB in units: enough to upload four large objects at a time, each as fast as if it were
/// alone.
const UNITS: u32 = 1024;

/// Memory for uploads to a bucket, shared by all of them. It is a limit, however many databases
/// take their first snapshot at the same time, unless one has hundreds of gigabytes, so that a
/// part takes more than half of the limit. Small objects are not counted, and never wait.
///
/// First come, first served. An upload begins only once it has all the room that it needs to send
/// something, so uploads that hold room never wait for each other.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Semaphore>);

/// Reserved memory, which is given back on drop.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

impl Default for Memory {
    fn default() -> Self {
        Self::of(UNITS)
    }
}

impl Memory {
    pub(super) fn of(units: u32) -> Self {
        Self(Arc::new(Semaphore::new(units as usize)))
    }

    /// Waits for room for `parts` parts of `bytes` bytes. Never returns `None`, since the
    /// semaphore is never closed.
    pub(super) async fn room(&self, parts: u32, bytes: u64) -> Option<Room> {
        Arc::clone(&self.0).acquire_many_owned(parts * units(bytes)).await.ok().map(Room)
    }
}

impl Room {
    /// Splits off the room for one part. `None` if nothing is left.
    pub(super) fn for_part(&mut self, bytes: u64) -> Option<Self> {
        self.0.split(units(bytes) as usize).map(Self)
    }
}

/// The units that a part takes, limited so that two of the largest parts fit.
fn units(bytes: u64) -> u32 {
    let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(UNITS);
    units.clamp(1, UNITS / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_of_any_length_fit() {
        for (bytes, expected) in
            [(0, 1), (1, 1), (UNIT_BYTES + 1, 2), (5 << 20, 80), (640 << 20, 512), (u64::MAX, 512)]
        {
            assert_eq!(units(bytes), expected);
            assert!(2 * units(bytes) <= UNITS);
        }
    }

    #[tokio::test]
    async fn is_divided_among_parts_and_given_back() {
        let memory = Memory::default();
        let mut room = memory.room(2, 5 << 20).await.unwrap();
        let parts = [(); 2].map(|()| room.for_part(5 << 20).unwrap());
        assert!(room.for_part(5 << 20).is_none());
        assert_eq!(memory.0.available_permits(), 1024 - 160);
        drop((parts, room));
        assert_eq!(memory.0.available_permits(), 1024);
    }
}
