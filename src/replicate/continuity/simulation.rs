//! Random histories of a log and its readers, in which [`continuity`] is asked again and again.

use proptest::prelude::*;

use super::super::hold::Hold;
use super::model::{End, Log, OURS, USERS};
use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Read(usize),
    EndRead(usize),
    Write(usize, usize, End),
    Reconnect(usize),
    Recover(usize),
    BeginCheckpoint(usize),
    EndCheckpoint,
    Truncate(usize),
    LastClose,
    Copy,
    PutBack,
    /// We look at the log, and take what is new.
    Look,
    Advance,
    /// We begin another read transaction, while others go on.
    BeginAdvance,
    /// We take what is new, and end the first transaction.
    EndAdvance,
    /// We end our read transaction for a moment, with all captured.
    BeginGap,
    EndGap,
    /// We checkpoint; another user's checkpoint that is in the way may end meanwhile.
    Checkpoint {
        other_ends: bool,
    },
    /// We empty the log, perhaps for a snapshot.
    EndIndex {
        snapshot: bool,
    },
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 0..USERS;
    let end = prop_oneof![6 => Just(End::Commit), 1 => Just(End::RollBack), 1 => Just(End::Die)];
    prop_oneof![
        2 => user().prop_map(Step::Read),
        2 => user().prop_map(Step::EndRead),
        8 => (user(), 1..4_usize, end).prop_map(|(by, frames, end)| Step::Write(by, frames, end)),
        1 => user().prop_map(Step::Reconnect),
        1 => user().prop_map(Step::Recover),
        2 => user().prop_map(Step::BeginCheckpoint),
        2 => Just(Step::EndCheckpoint),
        1 => user().prop_map(Step::Truncate),
        1 => Just(Step::LastClose),
        1 => Just(Step::Copy),
        2 => Just(Step::PutBack),
        6 => Just(Step::Look),
        2 => Just(Step::Advance),
        4 => Just(Step::BeginAdvance),
        4 => Just(Step::EndAdvance),
        2 => Just(Step::BeginGap),
        2 => Just(Step::EndGap),
        3 => any::<bool>().prop_map(|other_ends| Step::Checkpoint { other_ends }),
        1 => any::<bool>().prop_map(|snapshot| Step::EndIndex { snapshot }),
        1 => Just(Step::Stop),
    ]
}

/// Where the log ends, and how many transactions were committed.
type Index = (Salt, usize, usize);

/// Our side: what the capture and the tail do, in their order, with the program's own [`Hold`].
struct Follower {
    place: Place,
    /// Frames of the log before the cursor.
    at: usize,
    hold: Hold,
    captured: Vec<u64>,
    /// Where the log ended, and whether all of it was in the database file, before the last read
    /// transaction began that is to take the place of another.
    before: (u64, bool),
    /// What the index of the log said when we ended our read transaction for a moment.
    gap: Option<Index>,
    /// We have not been stopped since the generation began.
    was_there: bool,
}

impl Follower {
    fn begin(log: &mut Log) -> Self {
        let mut follower = Self {
            place: Place::Start,
            at: 0,
            hold: Hold::begin(None),
            captured: Vec::new(),
            before: (0, false),
            gap: None,
            was_there: true,
        };
        follower.begin_generation(log);
        follower
    }

    /// Begins a generation, as `freeze` and `Capture::begin` do.
    fn begin_generation(&mut self, log: &mut Log) {
        log.reader = Some(log.begin());
        log.checkpoint(OURS);
        log.reader = None;
        let complete = log.checkpoint(OURS);
        log.reader = Some(log.begin());
        let end = log.header.map(|(salt, _)| (salt, log.end() as u64));
        let end = end.filter(|(_, end)| *end > 0);
        let emptied = complete && (end.is_none() || log.truncate(OURS));
        *self = Self {
            place: Place::Start,
            at: 0,
            hold: Hold::begin(end.filter(|_| !emptied)),
            captured: log.ledger.clone(),
            before: (0, false),
            gap: None,
            was_there: true,
        };
    }

    fn found(&self, log: &Log) -> Found {
        let Some((salt, sequence)) = log.header else { return Found::Nothing };
        let holds_cursor = match self.place {
            Place::Start => false,
            Place::Within { checksum, .. } => log.holds(self.at, checksum),
        };
        Found::Log { salt, sequence, holds_cursor }
    }

    /// Follows the log. Returns `false` if a generation began.
    fn follow(&mut self, log: &mut Log) -> bool {
        match continuity(self.place, self.hold.is_held(), self.found(log)) {
            Continuity::Same => (),
            Continuity::Next => self.next_index(),
            Continuity::Broken(reason) => {
                assert!(!self.was_there, "{reason}, but nothing was missed");
                self.begin_generation(log);
                return false;
            }
        }
        true
    }

    /// Follows the log, and takes what is new. Returns `false` if a generation began.
    fn drain(&mut self, log: &mut Log) -> bool {
        if !self.follow(log) {
            return false;
        }
        self.cut(log);
        assert_eq!(self.captured, log.ledger, "something was missed, or never was committed");
        true
    }

    fn next_index(&mut self) {
        (self.place, self.at) = (Place::Start, 0);
        self.hold.note_next_log();
    }

    /// Takes what is new, unless this is another log.
    fn cut(&mut self, log: &Log) {
        let Some((salt, _)) = log.header else { return self.hold.note_seen_to_its_end() };
        match self.place {
            Place::Within { salt: of, .. } if of != salt => return,
            _ => (),
        }
        self.hold.note_seen_to_its_end();
        self.hold.note_caught_up();
        let (found, end) = log.transactions(self.at, log.end());
        if found.is_empty() {
            return;
        }
        assert!(log.ledger.ends_with(&found), "it never was committed");
        assert!(log.ledger.len() - found.len() <= self.captured.len(), "there is a hole");
        self.captured.clone_from(&log.ledger);
        let (offset, checksum) = (end as u64, log.checksum(end, salt));
        (self.place, self.at) = (Place::Within { salt, offset, checksum }, end);
        self.hold.note_cut(self.place);
    }

    fn advance(&mut self, log: &mut Log) {
        if self.drain(log) {
            log.reader = Some(log.begin());
            log.checkpoint(OURS);
            self.hold.note_advanced(self.place);
        }
    }

    fn begin_advance(&mut self, log: &mut Log) {
        if self.follow(log) && self.hold.is_watched() {
            self.before = (log.end() as u64, log.is_complete());
            log.next = Some(log.begin());
            self.hold.note_next_reader();
        }
    }

    fn end_advance(&mut self, log: &mut Log) {
        let Some(next) = log.next else { return };
        self.cut(log);
        if self.hold.is_seen_to_its_end() {
            log.reader = Some(next);
            match self.before {
                (_, true) if log.is_complete() => self.hold.note_drained(self.place),
                (end, _) => self.hold.note_followed(self.place, end),
            }
        }
    }

    fn begin_gap(&mut self, log: &mut Log) {
        if self.drain(log) && self.hold.is_held_at(self.place) {
            self.gap = Some(log.index());
            log.reader = None;
        }
    }

    fn end_gap(&mut self, log: &mut Log) {
        let Some(before) = self.gap.take() else { return };
        log.reader = Some(log.begin());
        let after = log.index();
        if after == before || (after.1 == 0 && after.2 == before.2) {
            self.hold.note_next_reader();
            self.hold.note_advanced(self.place);
        } else {
            self.hold.note_released();
            self.was_there = false;
        }
    }

    fn checkpoint(&mut self, log: &mut Log, other_ends: bool) {
        if !self.drain(log) {
            return;
        }
        log.reader = None;
        let complete = log.checkpoint(OURS);
        if other_ends {
            log.end_checkpoint();
        }
        log.reader = Some(log.begin());
        if complete {
            self.hold.note_drained(self.place);
        } else {
            self.hold.note_advanced(self.place);
        }
    }

    fn end_index(&mut self, log: &mut Log, snapshot: bool) {
        if self.hold.is_drained() && log.truncate(OURS) && snapshot {
            self.next_index();
        }
    }

    /// Resumes after a stop: what an earlier process left is all that we know.
    fn resume(&mut self, log: &mut Log) {
        if log.reader.is_none() {
            log.reader = Some(log.begin());
            self.hold = Hold::resume();
            self.was_there = false;
        }
    }

    fn step(&mut self, log: &mut Log, step: Step) {
        match step {
            // We keep the database open.
            Step::LastClose | Step::PutBack if self.gap.is_some() => (),
            Step::Read(by) => log.read(by),
            Step::EndRead(by) => log.end_read(by),
            Step::Write(by, frames, end) => log.write(by, frames, end),
            Step::Reconnect(by) => log.reconnect(by),
            Step::Recover(by) => log.recover(by),
            Step::BeginCheckpoint(by) => drop(log.begin_checkpoint(by)),
            Step::EndCheckpoint => log.end_checkpoint(),
            Step::Truncate(by) => drop(log.truncate(by)),
            Step::LastClose => log.last_close(),
            Step::Copy => log.copy(),
            Step::PutBack => log.put_back(),
            Step::Stop => (log.reader, log.next, self.gap) = (None, None, None),
            Step::EndAdvance => {
                self.end_advance(log);
                log.next = None;
            }
            _ => {
                log.next = None;
                self.end_gap(log);
                self.resume(log);
                match step {
                    Step::EndGap => (),
                    Step::BeginGap => self.begin_gap(log),
                    Step::BeginAdvance => self.begin_advance(log),
                    Step::Advance => self.advance(log),
                    Step::Checkpoint { other_ends } => self.checkpoint(log, other_ends),
                    Step::EndIndex { snapshot } => self.end_index(log, snapshot),
                    _ => drop(self.drain(log)),
                }
            }
        }
    }
}

proptest! {
    /// Whenever we go on, nothing was missed; and unless we were stopped, we always go on.
    #[test]
    fn goes_on_exactly_when_nothing_was_missed(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut log = Log::new();
        let mut follower = Follower::begin(&mut log);
        for step in steps {
            follower.step(&mut log, step);
        }
        follower.end_gap(&mut log);
        follower.resume(&mut log);
        follower.drain(&mut log);
    }
}

/// An application goes on, copies what nobody captured, and restarts or empties its log between our
/// look at the log and the capture: that does not count as a look at the new log.
#[test]
fn what_is_lost_between_two_looks_is_noticed() {
    let write = |by| Step::Write(by, 1, End::Commit);
    let unwatched = [Step::Stop, write(0), Step::BeginCheckpoint(0), Step::EndCheckpoint];
    for step in [write(1), Step::Truncate(1)] {
        let mut log = Log::new();
        let mut follower = Follower::begin(&mut log);
        let restarted = [Step::BeginAdvance, step, Step::EndAdvance];
        for step in [write(0), Step::Look].into_iter().chain(unwatched).chain(restarted) {
            follower.step(&mut log, step);
        }
        assert_ne!(follower.captured, log.ledger);
        assert!(!follower.drain(&mut log), "another generation begins");
    }
}
