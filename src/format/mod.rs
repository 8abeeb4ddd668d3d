//! What a replica is made of: the names and the contents of its objects, as values.
//!
//! ```text
//! <root>/generations/<generation>/snapshots/<index>.snapshot.lz4     the database file
//! <root>/generations/<generation>/wal/<index>_<offset>.wal.lz4       committed WAL frames
//! ```
//!
//! This is the layout of Litestream 0.3, to the byte. Each object is one LZ4 frame; ours carry a
//! [`Seal`] after it, which Litestream skips.

mod digest;
mod generation;
mod history;
mod key;
pub mod lz4;
mod parse_error;
mod pos;
mod proof;
mod seal;

pub use digest::{Digest, PageDigest};
pub use generation::Generation;
pub use history::{History, Segment, Snapshot, moment, moments};
pub use key::Key;
pub use parse_error::ParseError;
pub use pos::{WalIndex, WalPos};
pub use proof::{Proof, ProofRecord};
pub use seal::{Content, Kind, Link, LogPlace, Seal};
