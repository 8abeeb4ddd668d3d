use std::thread::sleep;
use std::time::Duration;

use anyhow::{bail, ensure};

use crate::case::{Case, PATIENCE, last_lines};
use crate::process::{Process, litestream};
use crate::site::REPLICAS;

/// How the daemon says that validation failed.
const ALARM: &str = "validator: the replica cannot be restored";
/// And that it found the database damaged, which it never is.
const DAMAGE: &str = "validator: the database itself is damaged";
/// And that it found nothing wrong.
const PROOF: &str = "msg=validator ";

/// What expires is taken away by several requests, and a daemon that died between two of them goes on
/// when it looks again.
const EXPIRY: Duration = Duration::from_millis(1500);
const LOOKS_MAX: u32 = 4;

/// What the program says of its replicas itself. Nothing is wrong with them, so it must not say so.
impl Case {
    /// Takes note that what is read from a replica may be wrong, or nothing, for a while: then
    /// validation says so, and rightly, perhaps only after its second try.
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

    /// The same of a daemon that has ended, whose validations are counted.
    pub(crate) fn hear_out(&mut self, said: &str) -> anyhow::Result<()> {
        let proofs = said.lines().filter(|line| line.contains(PROOF)).count();
        self.counts.validations += proofs as u64;
        self.expect_no_alarm(said)
    }

    /// Expects that `verify -full` finds nothing in the replicas, nor in our forks, while everything
    /// is at rest. With a rival, it may find what that did not live to take back, and where a store
    /// was bad, logs that the replica does not have.
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
        // In a fork, there is the replica that it left, too.
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
