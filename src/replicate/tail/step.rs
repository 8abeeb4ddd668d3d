use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, error, info};

use super::absence::Awaited;
use super::divergence::Diverged;
use super::{Slot, Standing, Tail};
use crate::replicate::bell::Bell;
use crate::replicate::cancellation::Cancellation;
use crate::replicate::outcome::Unreplicated;
use crate::replicate::restoration::RestoredMeanwhile;
use crate::sqlite::{Database, LacksCommits, OpenError};

/// How often to look at a database even though the kernel notifies us of changes, in case it did
/// not.
const SAFETY_INTERVAL: Duration = Duration::from_mins(1);

/// How long after an error to try again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long the start of a database may hold up that of the next one. Its store may be down.
const START_MAX: Duration = Duration::from_secs(2);

/// The shortest pause for which it is worth releasing memory.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// How often a lasting failure is logged again, if it stays the same.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Replication is interrupted: every attempt fails.
#[derive(Debug)]
pub(super) struct Interruption {
    began: Instant,
    /// When this was last logged.
    said: Instant,
    pub(super) reason: String,
}

/// What follows a step.
enum Next {
    /// Another step, after that time or when the bell is rung; if `for_changes`, also when the
    /// database changes.
    Step { after: Duration, for_changes: bool },
    /// Nothing more. Has what some replica lacks.
    End(Vec<Unreplicated>),
}

/// Follows a database until it is asked to stop, and returns what some replica lacks. It begins
/// once it has one of `starts`, and each step takes one of `threads`; all databases share both.
///
/// Fails if the database was restored meanwhile, and is to be followed anew; or with an error that
/// only somebody's help can end.
pub(in crate::replicate) async fn follow(
    tail: Tail,
    starts: Arc<Semaphore>,
    threads: Arc<Semaphore>,
) -> anyhow::Result<Vec<Unreplicated>> {
    // It is handed from thread to thread.
    let mut tail = Box::new(tail);
    let bell = tail.watch.bell();
    let mut start = wait_for_start(starts, &bell, tail.lines.cancellation.clone()).await?;
    let began = Instant::now();
    loop {
        let thread = Arc::clone(&threads).acquire_owned().await?;
        let step = tokio::task::spawn_blocking(move || {
            let next = tail.step();
            drop(thread);
            (tail, next)
        });
        let (after_step, next) = step.await.context("please report this as a defect")?;
        tail = after_step;
        if tail.has_begun() {
            start.take();
        }
        match next? {
            Next::End(unreplicated) => return Ok(unreplicated),
            Next::Step { after, for_changes } => {
                // Other databases wait for this start.
                let rest = start.as_ref().map(|_| START_MAX.saturating_sub(began.elapsed()));
                let after = rest.map_or(after, |rest| rest.min(after));
                tail.schedule.changed |= bell.wait(after, for_changes).await;
                start.take_if(|_| began.elapsed() >= START_MAX);
            }
        }
    }
}

/// Waits for one of `starts`. Returns `None` if we are cancelled first.
async fn wait_for_start(
    starts: Arc<Semaphore>,
    bell: &Bell,
    cancellation: Cancellation,
) -> anyhow::Result<Option<OwnedSemaphorePermit>> {
    let start = starts.acquire_owned();
    tokio::pin!(start);
    while !cancellation.is_cancelled() {
        tokio::select! {
            start = &mut start => return Ok(Some(start?)),
            _ = bell.wait(SAFETY_INTERVAL, false) => (),
        }
    }
    Ok(None)
}

impl Tail {
    /// Whether all replicas have what they need to go on with, or there is no database.
    fn has_begun(&self) -> bool {
        let inside = |slot: &Slot| slot.standing == Standing::Inside && !slot.storing;
        self.awaited == Awaited::File || (self.capture.is_some() && self.slots.iter().all(inside))
    }

    /// Does what there is to do now.
    fn step(&mut self) -> anyhow::Result<Next> {
        self.receive()?;
        let aborted = self.lines.cancellation.is_cancelled();
        let is_uninterrupted = self.interruption.is_none() || self.is_left_to_others();
        if aborted || (is_uninterrupted && self.may_end(Instant::now())) {
            return Ok(Next::End(self.end()));
        }
        // Asked before the database is looked at: a change in between would be missed otherwise.
        let told = self.watch.is_told();
        self.told = told;
        let looked_at = SystemTime::now();
        let after = match self.tick(Instant::now()) {
            Ok(()) => {
                if self.interruption.take().is_some() {
                    self.metrics.set_error(None);
                    if self.database.is_some() {
                        info!(db = %self.path().display(), "replication goes on");
                    }
                }
                if self.capture.is_some() && self.database.is_some() {
                    self.metrics.set_looked_at(looked_at);
                }
                let pause = self.pause(told, Instant::now());
                self.rest(pause);
                pause
            }
            // We were cancelled meanwhile, and there is nothing wrong.
            Err(_) if self.lines.cancellation.is_cancelled() => Duration::ZERO,
            Err(error) if error.is::<Diverged>() || error.is::<RestoredMeanwhile>() => {
                return Err(error);
            }
            Err(error) if !self.opened && is_unusable(&error) => return Err(error),
            Err(error) => {
                self.metrics.sync_error_count.inc();
                self.schedule.last_look_was_idle = false;
                self.release_if_unsure(&error);
                if let Some(database) = &mut self.database {
                    // Too many files may be open. An error here would say nothing new.
                    let _ = database.rest();
                }
                if error.is::<LacksCommits>() {
                    self.give_up_log();
                }
                self.note_interruption(&error);
                RETRY_INTERVAL
            }
        };
        Ok(Next::Step { after, for_changes: !self.schedule.changed && self.interruption.is_none() })
    }

    fn note_interruption(&mut self, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        let before = self.interruption.as_ref().filter(|before| before.reason == reason);
        let said = before.map(|before| before.said);
        let said = said.filter(|said| said.elapsed() <= LOG_INTERVAL).unwrap_or_else(|| {
            error!(db = %self.path().display(), "replication is interrupted: {reason}");
            Instant::now()
        });
        self.metrics.set_error(Some(reason.clone()));
        let began = before.map_or_else(Instant::now, |before| before.began);
        self.interruption = Some(Interruption { began, said, reason });
        self.yield_disk(error, began);
    }

    /// Frees caches, and the disk space of a long log, once in each long pause.
    fn rest(&mut self, pause: Duration) {
        let idle = self.schedule.last_look_was_idle;
        if pause >= LONG_PAUSE && !(idle && self.rested) {
            // First, for looking at an empty log takes a connection.
            let shortened = if idle { self.shorten_log() } else { Ok(false) };
            self.rested = shortened.unwrap_or_else(|error| {
                debug!(db = %self.path().display(), "cannot shorten the log: {error:#}");
                true
            });
            // A database that is written to now and then keeps what it would have to open again
            // each time.
            let long = idle || self.capture.is_none();
            let rest = if long { Database::rest } else { |it: &mut Database| it.forget_pages() };
            if let Some(Err(error)) = self.database.as_mut().map(rest) {
                debug!(db = %self.path().display(), "cannot take less memory: {error}");
            }
        } else if !idle {
            self.rested = false;
        }
    }

    /// How long there is nothing to do, unless something changes. `told`: we would be notified of
    /// that.
    fn pause(&self, told: bool, now: Instant) -> Duration {
        let pause = self.pause_of_log(told, now);
        self.schedule.until_copied(now).map_or(pause, |until| until.min(pause))
    }

    fn pause_of_log(&self, told: bool, now: Instant) -> Duration {
        let interval = self.options.monitor_interval;
        let waiting = self.slots.iter().any(|slot| slot.request.is_some() && !slot.storing);
        if self.stopping.is_some() {
            Duration::from_millis(20)
        } else if self.schedule.changed && self.capture.is_some() && self.database.is_some() {
            self.schedule.until_cut(now).min(interval)
        } else if waiting {
            Duration::from_millis(100).min(interval)
        } else if let Some(pause) = self.schedule.until_settled {
            pause.min(interval)
        } else if self.capture.is_none() || self.database.is_none() || !told {
            interval
        } else {
            let longest = SAFETY_INTERVAL.max(interval);
            self.until_checkpoint(now).unwrap_or(longest).min(longest)
        }
    }
}

/// Whether only somebody's help can end an error.
fn is_unusable(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(OpenError::Unusable(_)))
}
