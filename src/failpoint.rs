//! Places where a test can make this process die, fail or wait: before or after each step that
//! others rely on. A release build contains none of them.

mod script;

use std::io;

/// The environment variable that names the file with the script.
///
/// The script may change while the process runs: a disk can be full for a while. It has lines like
///
/// ```text
/// segment-cut = kill @ 3
/// object-writing = enospc @ 2..5
/// object-syncing = slow 20ms
/// ```
///
/// Each line names a place and what happens there: `kill`, an error (`enospc`, `eio`, `erofs`) or
/// a pause. It may also name the passes at which it happens, counted from when the script was
/// written.
pub const SCRIPT: &str = "LITESTREAM_FAILPOINTS";

macro_rules! failpoints {
    ($($(#[$about:meta])* $variant:ident $name:literal)*) => {
        /// A place in the program. A name in `…ing` means that the step is about to be done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failpoint {
            $($(#[$about])* $variant,)*
        }

        impl Failpoint {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

failpoints! {
    SegmentCreating "segment-creating"
    /// A block of the page table is about to be written.
    PagesWriting "pages-writing"
    /// The page table of a new generation is complete, and no cursor belongs to it yet.
    PagesBuilt "pages-built"
    /// The segment is complete, and staged for no replica yet.
    SegmentCut "segment-cut"
    /// The segment was staged for another replica.
    SegmentLinked "segment-linked"
    /// The header of the log was read, and is about to be compared with the frames after it.
    LogFound "log-found"
    StateRenaming "state-renaming"
    StateRenamed "state-renamed"
    /// What can be copied of the log is in the database file, and the application goes on writing.
    LogCopied "log-copied"
    /// The log is captured to its end, and nobody can write.
    LogDrained "log-drained"
    /// The log is in the database file, nobody can write, and we are in no read transaction.
    LogBackfilled "log-backfilled"
    LogTruncated "log-truncated"
    /// A frame of a log that was removed is about to be copied to a new file.
    LostLogCopying "lost-log-copying"
    /// A log that was removed is about to get its name back.
    LostLogNaming "lost-log-naming"
    /// Some part of the state is about to be made durable.
    StateSyncing "state-syncing"
    /// Some part of the state is about to be removed, mostly staged segments.
    StateRemoving "state-removing"
    /// The store has a segment that is still staged.
    SegmentSent "segment-sent"
    /// A run of pages is about to be read, while the snapshot is being stored.
    SnapshotReading "snapshot-reading"
    SnapshotStored "snapshot-stored"
    /// A part of an object is about to be written to a directory.
    ObjectWriting "object-writing"
    ObjectSyncing "object-syncing"
    ObjectRenaming "object-renaming"
    ObjectRenamed "object-renamed"
    ObjectReading "object-reading"
    ObjectDeleting "object-deleting"
    /// A part of a restored database is about to be written.
    OutputWriting "output-writing"
    /// The restored database is about to be synced, while it is still being written or compared.
    OutputWritingBack "output-writing-back"
    OutputSyncing "output-syncing"
    /// The database that is to be replaced holds all of its commits, and nobody can use it.
    OutputClaimed "output-claimed"
    OutputRenaming "output-renaming"
    OutputRenamed "output-renamed"
}

impl Failpoint {
    /// Passes this place. The error is the one in the script.
    pub fn pass(self) -> io::Result<()> {
        if cfg!(debug_assertions) { script::pass(self) } else { Ok(()) }
    }

    /// Passes this place where nothing can fail. An error in the script is ignored.
    pub fn reach(self) {
        let _ = self.pass();
    }
}
