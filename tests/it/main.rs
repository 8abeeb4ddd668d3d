//! Everything that needs SQLite, a directory, a store or the binary. One binary, so one link.
#![allow(clippy::unwrap_used)]

mod bad_store;
mod cli;
mod config;
mod database;
mod failpoints;
mod fuzz;
mod interop;
mod lineage;
mod replicate;
mod restore;
#[path = "../rogue/mod.rs"]
mod rogue;
mod s3;
mod seaweed;
mod store;
mod support;
mod tidy;
mod verify;
