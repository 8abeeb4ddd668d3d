use std::time::Duration;

use rusqlite::{Connection, Result};

use crate::role::{Stage, say_at_work, tolerate_busy};

/// Does to a database what the worst applications do.
pub(crate) fn play(stage: &Stage, mut random: fastrand::Rng) -> anyhow::Result<()> {
    say_at_work();
    while !stage.is_over() {
        let connection = stage.open(&mut random)?;
        let mut written = 0_u32;
        for _ in 0..random.u32(1..40) {
            if stage.is_over() {
                break;
            }
            // All checkpoints but passive ones block other writers while they wait for readers.
            connection.busy_timeout(Duration::from_millis(random.u64(..500)))?;
            tolerate_busy(act(&connection, &mut random, &mut written))?;
            // After a failed statement, its transaction may still be open.
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            stage.rest(&mut random, Duration::from_millis(20));
        }
        drop(connection);
        stage.site.count_bytes(written.into())?;
    }
    Ok(())
}

fn act(connection: &Connection, random: &mut fastrand::Rng, written: &mut u32) -> Result<()> {
    match random.u32(..100) {
        0..70 => transaction(connection, random, written),
        70..90 => checkpoint(connection, random),
        90..93 => connection.execute_batch("VACUUM"),
        93..97 => connection.execute_batch("PRAGMA incremental_vacuum(20)"),
        97 => connection.execute_batch("CREATE INDEX IF NOT EXISTS i ON junk (y)"),
        98 => connection.execute_batch("DROP INDEX IF EXISTS i"),
        _ => connection.execute_batch("REINDEX"),
    }
}

/// Makes a transaction. Some are larger than the cache, so that parts of them are in the log
/// before they commit.
fn transaction(
    connection: &Connection,
    random: &mut fastrand::Rng,
    written: &mut u32,
) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut insert = connection.prepare("INSERT INTO junk (x, y) VALUES (randomblob(?), ?)")?;
    for _ in 0..[1, 1, 2, 5, 30][random.usize(..5)] {
        let length: u32 = [10, 200, 3000, 20_000][random.usize(..4)];
        insert.execute((length, random.u32(..100)))?;
        *written += length;
    }
    match random.u32(..10) {
        0..3 => connection.execute_batch(
            "DELETE FROM junk WHERE id IN (SELECT id FROM junk ORDER BY random() LIMIT 30)",
        )?,
        3 => connection.execute_batch(
            "UPDATE junk SET x = zeroblob(length(x) / 2) WHERE y IN (SELECT y FROM junk LIMIT 3)",
        )?,
        4 => connection.execute_batch("DELETE FROM junk WHERE y % 3 = 0")?,
        _ => (),
    }
    connection.execute_batch(if random.u32(..5) == 0 { "ROLLBACK" } else { "COMMIT" })
}

fn checkpoint(connection: &Connection, random: &mut fastrand::Rng) -> Result<()> {
    let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][random.usize(..4)];
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}
