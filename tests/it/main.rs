//! Everything that needs SQLite, a directory, a store or the binary. One binary, so one link.
#![allow(clippy::unwrap_used)]

mod canned;
mod cli;
mod config;
mod failpoints;
mod interop;
mod lineage;
mod replicate;
mod restore;
mod s3;
mod seaweed;
mod store;
mod support;
mod tidy;
mod verify;
