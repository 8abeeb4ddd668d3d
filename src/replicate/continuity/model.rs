//! A model of SQLite's log: what wal.c lets its users do, and in which order.

use crate::wal::{Checksum, Salt};

/// Connections of the application. One more is ours, for checkpoints.
pub(super) const USERS: usize = 3;
pub(super) const OURS: usize = USERS;

/// What a read transaction keeps others from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Reads the database file alone: nothing can be copied to it.
    File,
    /// Reads that many frames: no more can be copied, and the log cannot be restarted.
    Log(usize),
}

/// A read transaction, and the end of the log that it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) mark: Mark,
    seen: (Salt, usize),
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    salt: Salt,
    /// The checksum that it continues from.
    before: Checksum,
    checksum: Checksum,
    /// The transaction that it ends.
    commit: Option<u64>,
}

/// How a write ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    /// The transaction is rolled back after some of its pages went to the log.
    RollBack,
    /// The process dies, or its disk fails, after the last frame was written and before it was made
    /// known: the transaction is in the file, but was never committed.
    Die,
}

#[derive(Debug, Default)]
struct User {
    reading: Option<Reading>,
    /// How often it has restarted the log.
    sequence: u32,
}

/// What is in the files of a database, and in its log.
#[derive(Clone, Debug, Default)]
struct Files {
    header: Option<(Salt, u32)>,
    frames: Vec<Frame>,
    ledger: Vec<u64>,
}

/// A log and its users. A step is what is done under one lock.
#[derive(Debug)]
pub(super) struct Log {
    /// The header in the file.
    pub(super) header: Option<(Salt, u32)>,
    frames: Vec<Frame>,
    /// The salt in shared memory, where `end` and `backfilled` are as well.
    salt: Salt,
    end: usize,
    backfilled: usize,
    /// How far the checkpoint that is in progress copies.
    copying: Option<usize>,
    users: [User; USERS + 1],
    /// Our read transaction.
    pub(super) reader: Option<Reading>,
    /// The read transaction that is to take the place of `reader`.
    pub(super) next: Option<Reading>,
    /// The transactions that were committed.
    pub(super) ledger: Vec<u64>,
    drawn: u64,
    copy: Files,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            header: None,
            frames: Vec::new(),
            salt: Salt([0; 8]),
            end: 0,
            backfilled: 0,
            copying: None,
            users: Default::default(),
            reader: None,
            next: None,
            ledger: Vec::new(),
            drawn: 0,
            copy: Files::default(),
        }
    }

    /// The frames that are known to be committed.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// What the index says: the log, where it ends, and how many transactions were committed.
    pub(super) fn index(&self) -> (Salt, usize, usize) {
        (self.salt, self.end, self.ledger.len())
    }

    /// Draws a number that was never drawn before.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        let users = self.users.iter().filter_map(|user| user.reading);
        users.chain(self.reader).chain(self.next).map(|reading| reading.mark)
    }

    /// Begins to read at the newest commit.
    pub(super) fn begin(&self) -> Reading {
        let whole = self.backfilled == self.end && self.copying.is_none();
        let mark = if whole { Mark::File } else { Mark::Log(self.end) };
        Reading { mark, seen: (self.salt, self.end) }
    }

    pub(super) fn read(&mut self, by: usize) {
        self.users[by].reading = Some(self.begin());
    }

    pub(super) fn end_read(&mut self, by: usize) {
        self.users[by].reading = None;
    }

    pub(super) fn reconnect(&mut self, by: usize) {
        self.users[by] = User::default();
    }

    pub(super) fn write(&mut self, by: usize, frames: usize, ending: End) {
        let reading = self.users[by].reading.take().unwrap_or_else(|| self.begin());
        if reading.seen != (self.salt, self.end) {
            return; // What it reads is old: SQLite refuses.
        }
        let restarts = reading.mark == Mark::File && self.backfilled > 0;
        if restarts && self.marks().all(|mark| mark == Mark::File) {
            self.restart(by);
        }
        let mut salt = self.salt;
        if self.end == 0 {
            let sequence = self.users[by].sequence;
            if sequence == 0 {
                salt = Salt(self.draw().to_be_bytes());
            }
            self.header = Some((salt, sequence));
        }
        let id = self.draw();
        for at in self.end..self.end + frames {
            let before = self.checksum(at, salt);
            let content = self.draw().to_be_bytes();
            let checksum = before.update(crate::wal::ByteOrder::Little, &content);
            let last = at + 1 == self.end + frames && ending != End::RollBack;
            let frame = Frame { salt, before, checksum, commit: last.then_some(id) };
            match self.frames.get_mut(at) {
                Some(place) => *place = frame,
                None => self.frames.push(frame),
            }
        }
        match ending {
            End::Commit => {
                (self.salt, self.end) = (salt, self.end + frames);
                self.ledger.push(id);
            }
            End::RollBack => (),
            End::Die => self.reconnect(by),
        }
    }

    /// Whether the whole log is in the database file.
    pub(super) fn is_complete(&self) -> bool {
        self.backfilled == self.end
    }

    /// The checksum before a frame, in the log with this salt.
    pub(super) fn checksum(&self, frame: usize, salt: Salt) -> Checksum {
        match frame.checked_sub(1) {
            Some(before) => self.frames[before].checksum,
            None => Checksum::from_bytes(salt.0),
        }
    }

    /// Whether the last of the first `frames` frames is of this log, and has this checksum.
    pub(super) fn holds(&self, frames: usize, checksum: Checksum) -> bool {
        let salt = self.header.map(|(salt, _)| salt);
        let last = frames.checked_sub(1).and_then(|last| self.frames.get(last));
        last.is_some_and(|last| Some(last.salt) == salt && last.checksum == checksum)
    }

    /// The transactions in the file from a frame on, up to `until`, and where the last of them
    /// ends.
    pub(super) fn transactions(&self, from: usize, until: usize) -> (Vec<u64>, usize) {
        let Some((salt, _)) = self.header else { return (Vec::new(), from) };
        let mut checksum = self.checksum(from, salt);
        let frames = self.frames.iter().enumerate().take(until).skip(from);
        let valid = frames.take_while(|(_, frame)| {
            let valid = (frame.salt, frame.before) == (salt, checksum);
            checksum = frame.checksum;
            valid
        });
        let commits: Vec<(usize, u64)> =
            valid.filter_map(|(at, frame)| Some((at + 1, frame.commit?))).collect();
        let end = commits.last().map_or(from, |(end, _)| *end);
        (commits.into_iter().map(|(_, commit)| commit).collect(), end)
    }

    fn restart(&mut self, by: usize) {
        self.users[by].sequence += 1;
        let random = self.draw().to_be_bytes();
        self.salt = self.salt.next(u32::from_be_bytes([random[0], random[1], random[2], 1]));
        (self.end, self.backfilled) = (0, 0);
    }

    /// Begins a checkpoint. Returns `false` if another one is in progress.
    pub(super) fn begin_checkpoint(&mut self, by: usize) -> bool {
        if self.copying.is_some() || self.users[by].reading.is_some() {
            return false;
        }
        let logs = self.marks().filter_map(|mark| match mark {
            Mark::Log(frames) => Some(frames),
            Mark::File => None,
        });
        let safe = logs.min().unwrap_or(self.end).min(self.end);
        if self.backfilled < safe && self.marks().all(|mark| mark != Mark::File) {
            self.copying = Some(safe);
        }
        true
    }

    pub(super) fn end_checkpoint(&mut self) {
        self.backfilled = self.copying.take().unwrap_or(self.backfilled);
    }

    /// Checkpoints as far as possible. Returns whether the whole log is in the database file then.
    pub(super) fn checkpoint(&mut self, by: usize) -> bool {
        if !self.begin_checkpoint(by) {
            return false;
        }
        self.end_checkpoint();
        self.is_complete()
    }

    /// Checkpoints, and empties the log unless another user is in the way.
    pub(super) fn truncate(&mut self, by: usize) -> bool {
        let done = self.checkpoint(by) && self.marks().all(|mark| mark == Mark::File);
        if done {
            self.restart(by);
            self.frames.clear();
            self.header = None;
        }
        done
    }

    /// Rebuilds the shared memory from the file, as after a crash at a bad moment.
    pub(super) fn recover(&mut self, by: usize) {
        if self.copying.is_some() {
            return;
        }
        let (found, end) = self.transactions(0, usize::MAX);
        if let Some((salt, sequence)) = self.header.filter(|_| end > 0) {
            self.salt = salt;
            self.users[by].sequence = sequence;
        }
        let new = found.iter().filter(|id| !self.ledger.contains(id)).copied();
        self.ledger = self.ledger.iter().copied().chain(new).collect();
        (self.end, self.backfilled) = (end, 0);
    }

    /// Keeps a copy of the files.
    pub(super) fn copy(&mut self) {
        let (header, frames, ledger) = (self.header, self.frames.clone(), self.ledger.clone());
        self.copy = Files { header, frames, ledger };
    }

    /// Puts the copy back, while everything is stopped.
    pub(super) fn put_back(&mut self) {
        if self.reader.is_none() {
            let copy = self.copy.clone();
            let Files { header, frames, ledger } = copy.clone();
            *self = Self { header, frames, ledger, drawn: self.drawn, copy, ..Self::new() };
            self.recover(0);
        }
    }

    /// The last user closes the database: everything is copied, and the log removed.
    pub(super) fn last_close(&mut self) {
        if self.reader.is_none() {
            let Self { ledger, drawn, copy, .. } = std::mem::replace(self, Self::new());
            (self.ledger, self.drawn, self.copy) = (ledger, drawn, copy);
        }
    }
}
