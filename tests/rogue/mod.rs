//! An S3 server that misbehaves on demand, for both test binaries.
//!
//! ```text
//!   client ── line ──▶ gate ──▶ bucket ──▶ contents
//!             bytes    requests  s3s        objects
//! ```
//!
//! The [`Line`] refuses, hangs, resets and slows connections down. The gate counts requests, and
//! applies the [`Rule`]s to them in order. The [`Habits`] are what the store always does that
//! others do not: it lists unsorted or late, or has a wrong clock.
#![allow(dead_code, unused_imports, reason = "neither of the two binaries uses all of it")]
#![allow(clippy::unwrap_used)]

mod bucket;
mod connection;
mod contents;
mod fault;
mod gate;
mod habits;
mod line;
mod listing;
mod request;
mod rules;
mod server;

pub(crate) use fault::{Fault, Refusal};
pub(crate) use habits::Habits;
pub(crate) use line::Line;
pub(crate) use request::{Kind, Request};
pub(crate) use rules::Rule;
pub(crate) use server::{BUCKET, Rogue};
