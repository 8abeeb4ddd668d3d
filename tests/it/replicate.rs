//! The binary replicates while others write, and restores what they wrote.

mod about_to_restart;
mod altered_log;
mod application;
mod beside;
mod byte_order;
mod clocks;
mod contention;
mod directories;
mod divergence;
mod fencing;
mod health;
mod history;
mod indexes;
mod overwriting;
mod pages_once;
mod power_loss;
mod refusals;
mod replicas;
mod restoration;
mod resume;
mod rivalry;
mod round_trip;
mod stray;
mod succession;
mod uncommitted;
mod validation;
