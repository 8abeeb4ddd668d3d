//! What is fuzzed: everything that reads bytes or names from outside, and what must hold of it
//! whatever they are. That nothing panics goes without saying.
//!
//! A crate for the fuzzer, and a module of `tests/it`, which runs the corpus through it.
#![allow(unreachable_pub)]

mod config;
mod listing;
mod names;
mod object;
mod restore;
mod url;
mod wal;

pub use config::config;
pub use listing::listing;
pub use names::names;
pub use object::object;
pub use restore::restore;
pub use url::url;
pub use wal::wal;
