use super::message::{Mailbox, Message};

/// Has a database's replicas mended that validation found broken.
#[derive(Clone, Debug)]
pub struct Mender(Mailbox);

impl Mender {
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self(mailbox)
    }

    /// Has another snapshot stored in a replica, which is one of the database's by its place among
    /// them: from that on it can be restored again, whatever is missing before. Nothing is done for
    /// a replica that is waiting for one already, or cannot be reached.
    pub fn mend(&self, replica: usize) {
        self.0.send(Message::Mend { replica });
    }
}
