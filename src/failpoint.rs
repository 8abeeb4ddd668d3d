//! Where a test can let this process die, fail or wait: before or after each step that others rely
//! on. There is nothing of it in a release build.

mod script;

use std::io;

/// The name of the variable that names the file with the script.
///
/// The script may change while the process runs: a disk can be full for a while. It has lines like
///
/// ```text
/// segment-cut = kill @ 3
/// object-writing = enospc @ 2..5
/// object-syncing = slow 20ms
/// ```
///
/// and says at which place what happens: `kill`, an error (`enospc`, `eio`, `erofs`) or a pause;
/// and at which of the times that the place is passed, counted from when the script was written.
pub const SCRIPT: &str = "LITESTREAM_FAILPOINTS";

macro_rules! failpoints {
    ($($(#[$about:meta])* $variant:ident $name:literal)*) => {
        /// A place in the program. `…ing`: that is about to be done.
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
    /// Some entries of the page table, while a segment is being cut.
    PagesWriting "pages-writing"
    /// The page table of a new generation is complete, and no cursor belongs to it yet.
    PagesBuilt "pages-built"
    /// The segment is complete, and staged for no replica yet.
    SegmentCut "segment-cut"
    /// It is staged for one more replica.
    SegmentLinked "segment-linked"
    /// The header of the log was read, and is to be compared with what is behind it.
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
    /// A log that was removed, frame by frame, by the only one who has it.
    LostLogCopying "lost-log-copying"
    /// It is to get its name back.
    LostLogNaming "lost-log-naming"
    /// Whatever is made durable at a stop.
    StateSyncing "state-syncing"
    /// Whatever of the state is removed, staged segments above all.
    StateRemoving "state-removing"
    /// The store has a segment that is still staged.
    SegmentSent "segment-sent"
    /// A run of pages, while the snapshot is being stored.
    SnapshotReading "snapshot-reading"
    SnapshotStored "snapshot-stored"
    /// A part of an object in a directory.
    ObjectWriting "object-writing"
    ObjectSyncing "object-syncing"
    ObjectRenaming "object-renaming"
    ObjectRenamed "object-renamed"
    ObjectReading "object-reading"
    ObjectDeleting "object-deleting"
    /// A part of a restored database.
    OutputWriting "output-writing"
    /// It is not complete, or not compared yet.
    OutputWritingBack "output-writing-back"
    OutputSyncing "output-syncing"
    /// The database that is to be replaced holds all of its commits, and nobody can use it.
    OutputClaimed "output-claimed"
    OutputRenaming "output-renaming"
    OutputRenamed "output-renamed"
}

impl Failpoint {
    /// Goes past it. The error is that of the script.
    pub fn pass(self) -> io::Result<()> {
        if cfg!(debug_assertions) { script::pass(self) } else { Ok(()) }
    }

    /// Goes past it where nothing can fail.
    pub fn reach(self) {
        let _ = self.pass();
    }
}
