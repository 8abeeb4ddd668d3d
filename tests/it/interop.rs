//! Replicas and state directories go back and forth between us and Litestream.

mod restores;
mod takeover;
