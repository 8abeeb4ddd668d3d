//! SQLite's write-ahead log as a file format: values and bytes, no IO of its own.
//!
//! ```text
//! 0         32                                32 + 24 + page size
//! ┌─────────┬────────────────┬───────────────┬────────────────┬──────────────┬─ ─ ─
//! │ header  │ frame header   │ page          │ frame header   │ page         │
//! └─────────┴────────────────┴───────────────┴────────────────┴──────────────┴─ ─ ─
//! header        magic · version · page size · sequence · salt (8) · checksum (8)
//! frame header  page number · database size if this commits, else 0 · salt (8) · checksum (8)
//! ```
//!
//! All numbers are big-endian. Each checksum covers everything before it, from the header on; the
//! magic says in which byte order its words are read. A frame counts only if its salt is that of
//! the header, its checksum is right, and a commit frame follows or is the frame itself.
//!
//! Source: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>

mod checksum;
mod frame;
mod header;
mod reader;
mod selection;
mod writer;

pub use checksum::{ByteOrder, Checksum};
pub use frame::FrameHeader;
pub use header::{InvalidHeader, PageSize, Salt, WalHeader};
pub use reader::FrameReader;
pub use selection::FrameSelection;
pub use writer::FrameWriter;
