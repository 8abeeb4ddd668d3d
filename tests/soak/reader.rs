use std::time::Duration;

use rusqlite::Connection;

use crate::role::{Stage, say_at_work, tolerate_busy};

/// Reads in transactions that block checkpoints, and disconnects in between.
pub(crate) fn play(stage: &Stage, mut random: fastrand::Rng) -> anyhow::Result<()> {
    say_at_work();
    while !stage.is_over() {
        let connection = stage.open(&mut random)?;
        tolerate_busy(read(stage, &connection, &mut random))?;
        drop(connection);
        stage.rest(&mut random, Duration::from_secs(1));
    }
    Ok(())
}

fn read(
    stage: &Stage,
    connection: &Connection,
    random: &mut fastrand::Rng,
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN; SELECT count(*) FROM junk")?;
    stage.rest(random, Duration::from_millis(1500));
    connection.execute_batch("COMMIT")
}
