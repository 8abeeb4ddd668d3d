use std::time::Duration;

use rusqlite::Connection;

use crate::record::Recorder;
use crate::role::{Stage, say_at_work, tolerate_busy};
use crate::state::State;

const CELLS: i64 = 64;

/// Writes numbered transactions, and records each of them.
pub(crate) fn play(stage: &Stage, random: fastrand::Rng) -> anyhow::Result<()> {
    let mut oracle = Oracle::new(stage, random)?;
    let mut first = true;
    while !stage.is_over() {
        let connection = oracle.open(stage)?;
        if std::mem::take(&mut first) {
            say_at_work();
        }
        for _ in 0..oracle.random.u32(5..120) {
            if stage.is_over() {
                break;
            }
            oracle.step(&connection)?;
            stage.rest(&mut oracle.random, Duration::from_millis(20));
        }
        oracle.count_bytes(stage)?;
    }
    Ok(())
}

pub(crate) struct Oracle {
    pub(crate) random: fastrand::Rng,
    recorder: Recorder,
    state: State,
    /// The bytes written so far.
    written: u64,
}

impl Oracle {
    pub(crate) fn new(stage: &Stage, random: fastrand::Rng) -> anyhow::Result<Self> {
        let recorder = Recorder::open(&stage.site.record())?;
        Ok(Self { random, recorder, state: State::default(), written: 0 })
    }

    /// Opens the database, and records what is in it.
    pub(crate) fn open(&mut self, stage: &Stage) -> anyhow::Result<Connection> {
        let connection = stage.open(&mut self.random)?;
        self.state = State::read(&connection)?;
        self.recorder.found(self.state)?;
        Ok(connection)
    }

    pub(crate) fn count_bytes(&mut self, stage: &Stage) -> std::io::Result<()> {
        stage.site.count_bytes(std::mem::take(&mut self.written))
    }

    /// Makes one transaction.
    pub(crate) fn step(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let begun = connection.execute_batch("BEGIN IMMEDIATE");
        if begun.is_err() {
            return Ok(tolerate_busy(begun)?);
        }
        let mut next = self.append(connection)?;
        for _ in 0..self.random.u32(..5) {
            next = self.overwrite(connection, next)?;
        }
        self.recorder.trying(next)?;
        if self.random.u32(..8) == 0 {
            connection.execute_batch("ROLLBACK")?;
            return self.recorder.rolled_back();
        }
        connection.execute_batch("COMMIT")?;
        self.recorder.committed()?;
        self.state = next;
        Ok(())
    }

    fn append(&mut self, connection: &Connection) -> anyhow::Result<State> {
        let payload = self.content();
        let next = self.state.after(&payload);
        connection.execute("INSERT INTO log VALUES (?, ?)", (next.n, payload))?;
        Ok(next)
    }

    fn overwrite(&mut self, connection: &Connection, state: State) -> anyhow::Result<State> {
        let key = self.random.i64(..CELLS);
        let value = self.content();
        let sql = "DELETE FROM cell WHERE k = ? RETURNING v";
        let mut cell = connection.prepare(sql)?;
        let old: Vec<Vec<u8>> =
            cell.query_map([key], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let without = old.iter().fold(state, |state, old| state.toggled(key, old));
        connection.execute("INSERT INTO cell VALUES (?, ?)", (key, &value))?;
        Ok(without.toggled(key, &value))
    }

    /// A content that is mostly short; half of them are easy to compress.
    fn content(&mut self) -> Vec<u8> {
        let mut content = vec![0; [10, 10, 200, 200, 200, 3000, 20_000][self.random.usize(..7)]];
        if self.random.bool() {
            self.random.fill(&mut content);
        }
        self.written += content.len() as u64;
        content
    }
}
