//! A live database that belongs to another application.
//!
//! What we may do to it: read it, hold a read transaction, hold the write lock for an instant, and
//! checkpoint. What we may not do: write a single byte of our own into it, move its log before it
//! was read, or make its application wait.
//!
//! POSIX drops *all* locks of a process on a file as soon as the process closes *any* descriptor of
//! it, SQLite's own included, and another process may then delete the log under our read
//! transaction. So the database file is opened once, in [`Database`], and closed after the last
//! connection to it; so is the `-shm` file, in `Files`. The `-wal` file carries no locks and may be
//! opened and closed freely.
//!
//! The exceptions are [`Claimed`] and [`is_open`], for a database that is about to be replaced, or
//! not open here. A file that SQLite itself opens while another connection of ours has it open, as
//! [`quick_check`] does, it does not close until that connection has no lock any more (`unixClose`
//! in os_unix.c).

mod claimed;
mod connection;
mod database;
mod file_from;
mod file_id;
mod files;
mod fingerprint;
mod integrity;
mod log_file;
mod log_index;
mod log_state;
mod open_error;
mod paths;
mod permission;
mod readers;
mod shared_lock;
mod watches;

pub use claimed::{ClaimError, Claimed};
pub use database::{
    Checkpoint, Database, Gap, Leaving, LostLog, Reading, Undetermined, keep_unnamed_log,
};
pub use file_from::FileFrom;
pub use file_id::{FileId, FileIdentity};
pub use files::Naming;
pub use integrity::{integrity_check, is_damage, quick_check};
pub use log_file::{LacksCommits, LogFile, LogView};
pub use log_state::LogState;
pub use open_error::OpenError;
pub use paths::{is_sidecar, log_path, sidecar, state_directory};
pub use readers::{Reader, readers};
pub use rusqlite::Error as SqliteError;
pub use shared_lock::is_open;
pub use watches::{Changes, Watches};
