use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted.
pub(super) const UNIT_BYTES: u64 = 64 << 10;

/// 64 MiB: four large objects at a time go as fast as if each were alone.
const UNITS: u32 = 1024;

/// Memory for what is uploaded to a bucket, shared by everybody who does that: whatever number of
/// databases takes its first snapshot at the same time, there is no more than this, as long as none
/// of them has hundreds of gigabytes, and so parts of more than half of it. Small objects are not
/// counted, and wait for nobody.
///
/// First come, first served. An upload begins only once it has all the room that it needs to send
/// something, so those that have some never wait for each other.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Semaphore>);

/// Is given back when it is dropped.
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

    /// Waits for room for so many parts of that length. `None` never comes: nobody closes it.
    pub(super) async fn room(&self, parts: u32, bytes: u64) -> Option<Room> {
        Arc::clone(&self.0).acquire_many_owned(parts * units(bytes)).await.ok().map(Room)
    }
}

impl Room {
    /// Divides off what is for one part. `None` if nothing is left.
    pub(super) fn for_part(&mut self, bytes: u64) -> Option<Self> {
        self.0.split(units(bytes) as usize).map(Self)
    }
}

/// What a part takes. Two of the very largest ones have to fit.
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
