//! Continuous replication of SQLite databases to S3, exchangeable with Litestream 0.3.
//!
//! # How data flows
//!
//! ```text
//!   application ──writes──▶ app.db, app.db-wal
//!                               │
//!   one task per database       │  tail: verify frames → cut at a commit → compress → seal
//!                               ▼
//!               .app.db-litestream/staging/<replica>/   finished segments, under final names
//!                    │                   │
//!   one task per     │                   │  replica: oldest first, one by one, tried for ever
//!   replica          ▼                   ▼
//!               s3://bucket/path    /mnt/backup/app.db     <root>/generations/<generation>/…
//!                    │
//!   restore          │  list → plan → download → decode → check and apply → compare → rename
//!                    ▼
//!               app.db
//! ```
//!
//! A segment is made once. For several replicas it is one file with several names, and each replica
//! removes its own when the store has it. A snapshot is never staged: the database file stays as it
//! is while our read transaction lasts, and is streamed from there.
//!
//! Three small things on disk carry the capture over a restart: the *cursor* says how far the log
//! was cut, with a salt and a checksum that prove it; the *page table* has a digest of every page,
//! from which follows the digest of the database at each commit, and after a stop the pages that
//! changed meanwhile; the *staging directories* have what is yet to be sent. Beside them,
//! the generations that were captured from this file, the *lineage*, and what each replica
//! acknowledged last tell whether the database still continues what a replica holds, which
//! `replicate/descent.rs` decides.
//!
//! # Layers
//!
//! Each module uses only those above it, and not all of them; `tests/it/tidy.rs` checks that.
//!
//! * `exclusive`: files that one process at a time makes.
//! * [`failpoint`]: where tests let the process die. Nothing in a release.
//! * [`mod@format`]: the objects that a replica is made of. Values and bytes.
//! * `provenance`: what a database file was restored from, noted on the file.
//! * `utc`: times as text.
//! * [`wal`]: SQLite's write-ahead log as a file format. Values and bytes.
//! * [`sqlite`]: a live database that belongs to another application.
//! * [`store`]: where objects are kept.
//! * [`catalog`]: what a replica holds, as its store shows it.
//! * [`replicate`]: database to store, for ever.
//! * [`restore`]: store to database, once.
//! * [`verify`]: whether all that a store holds is right.
//! * [`validate`]: whether what was added to a store is right, again and again.
//! * [`config`]: `litestream.yaml` to options.
//! * [`cli`]: the commands.
//!
//! # Invariants
//!
//! 1. Nothing is added to a database. It is put into WAL mode and checkpointed, and a read
//!    transaction of ours keeps others from restarting its log before it was read.
//! 2. A segment ends at a commit: what SQLite takes for one, and not what looks like one in the
//!    log. Frames after the last commit are not treated as data. A segment has each page once, as
//!    it is at the end of the segment, and so is one transaction of a WAL that leads to the same
//!    database as the log.
//! 3. A generation goes on only where continuity is proven: the frame at the cursor still carries
//!    its checksum, or the log was read to its end before it was restarted, or the database was
//!    compared page by page. Otherwise a new generation begins.
//! 4. Under its name an object is whole and final, in the staging directory as in a store.
//! 5. A replica gets segments strictly in order, each only after the one whose link its seal names,
//!    and a snapshot only after the segments that it follows. So at any moment it can be restored,
//!    and a second daemon that writes to it is noticed.
//! 6. What a replica holds is never hidden or expired by a database that is not known to continue
//!    it. Such a database goes on in a fork, a replica of its own below the other one.
//! 7. A snapshot is stored only if its pages have the digest that was followed in the log.
//! 8. The tail never waits for a store, and a replica never waits for the database. Between them
//!    are files. Messages say that there may be something to do; no later process needs one.
//! 9. What is staged outlives the process and, after a clean stop, a loss of power. After any other
//!    loss of power it is not trusted: nothing waits for the disk while the application waits for
//!    us, and what the replica lacks then is in the database, which is compared or sent anew.
//! 10. A restored file appears whole, checked and by a rename that replaces nothing, or not at all.
//! 11. Memory does not grow with the database: segments, snapshots and restores are streamed, and
//!     of a log there is at most an index of its pages.
//! 12. `format` and `wal` read no clock and no randomness. What the others decide on values alone
//!     (continuity, checkpoints, retention, the plan of a restore) gets the time passed in.
//! 13. An error is logged once, where it is handled. One at the start that only a person can
//!     resolve ends the process.
//!
//! Start reading at `tick` in `replicate/tail.rs`: it is the program.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalog;
pub mod cli;
pub mod config;
mod exclusive;
pub mod failpoint;
pub mod format;
mod provenance;
pub mod replicate;
pub mod restore;
pub mod sqlite;
pub mod store;
mod utc;
pub mod validate;
pub mod verify;
pub mod wal;
