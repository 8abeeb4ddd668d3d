use super::message::{Mailbox, Message};

/// Has a database's replicas mended that validation found broken.
#[derive(Clone, Debug)]
pub struct Mender(Mailbox);

impl Mender {
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self(mailbox)
    }

    /// Has another snapshot stored in a replica, which is one of the database's by its place among
    /// them: from that on it can be restored again, whatever is missing before. `anew`: it could be
    /// restored before. Otherwise the last such snapshot did not help, and the next one waits for
    /// an hour. Nothing is done for a replica that waits for one already, or cannot be reached.
    pub fn mend(&self, replica: usize, anew: bool) {
        self.0.send(Message::Mend { replica, anew });
    }
}
