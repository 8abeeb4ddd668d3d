use std::thread::sleep;
use std::time::Duration;

use anyhow::{bail, ensure};

use crate::case::{Case, PATIENCE, last_lines};
use crate::process::{Process, litestream};
use crate::site::REPLICAS;

/// How the daemon reports that validation failed.
const ALARM: &str = "validator: the replica cannot be restored";
/// How it reports that the database is damaged, which it never is.
const DAMAGE: &str = "validator: the database itself is damaged";
/// How it reports that it found nothing wrong.
const PROOF: &str = "msg=validator ";

/// How long to wait for expiry to finish. Expired history is deleted by several requests, and a
/// daemon that died between two of them continues when it looks again.
const EXPIRY: Duration = Duration::from_millis(1500);
const LOOKS_MAX: u32 = 4;

/// What the program itself reports about its replicas. Nothing is wrong with them, so it must not
/// report otherwise.
impl Case {
    /// Notes that reads of a replica may be wrong, or fail, for a while. Then validation rightly
    /// reports it, perhaps only after its second try.
    pub(crate) fn excuse(&mut self, replicas: &[&'static str]) {
        self.excused.extend(replicas);
    }

    /// Expects that the daemon has found nothing wrong with a replica to which nothing happened.
    pub(crate) fn expect_no_alarm(&self, said: &str) -> anyhow::Result<()> {
        let damage = said.lines().find(|line| line.contains(DAMAGE));
        ensure!(damage.is_none(), "FALSE ALARM: {damage:?}");
        for replica in REPLICAS.iter().filter(|replica| !self.excused.contains(*replica)) {
            let name = format!(" name={replica} ");
            let alarm = said.lines().find(|line| line.contains(ALARM) && line.contains(&name));
            ensure!(alarm.is_none(), "FALSE ALARM: {alarm:?}");
        }
        Ok(())
    }

    /// Expects no alarm from a daemon that has ended, and counts its validations.
    pub(crate) fn hear_out(&mut self, said: &str) -> anyhow::Result<()> {
        let proofs = said.lines().filter(|line| line.contains(PROOF)).count();
        self.counts.validations += proofs as u64;
        self.expect_no_alarm(said)
    }

    /// Expects that `verify -full` finds nothing in the replicas and in our forks, while
    /// everything is at rest. With a rival, it may find what that daemon did not live to delete;
    /// and if a store was bad, logs that the replica lacks.
    pub(crate) fn verify_replicas(&mut self) -> anyhow::Result<()> {
        if self.peer.is_some() {
            return Ok(());
        }
        for replica in REPLICAS {
            let mut looks = 1;
            while let Some(defects) = self.defects(replica)? {
                let expires = self.settings.forgets(replica) && looks < LOOKS_MAX;
                ensure!(expires, "FALSE ALARM: verify {replica}: {defects}");
                self.start_daemon()?;
                sleep(EXPIRY);
                self.rest_daemon()?;
                looks += 1;
            }
        }
        Ok(())
    }

    fn defects(&mut self, replica: &str) -> anyhow::Result<Option<String>> {
        let fork = self.site.fork(replica);
        // If there is a fork, also check the replica that it left.
        let places = [fork.as_ref().map(|_| None), Some(fork.clone())].into_iter().flatten();
        for fork in places {
            let log = self.fresh("verify.log");
            let mut command = litestream()?;
            command.args(["verify", "-full", "-replica", replica, "-config"]);
            command.arg(self.site.config());
            if let Some(fork) = &fork {
                command.args(["-fork", fork]);
            }
            let mut process = Process::start(command.arg(self.site.database()), &log)?;
            let status = process.wait(PATIENCE)?;
            let said = process.said();
            match status {
                0 => std::fs::remove_file(log)?,
                1 => return Ok(Some(said)),
                _ => bail!("verify ended with {status}: {}", last_lines(&said)),
            }
        }
        Ok(None)
    }
}
