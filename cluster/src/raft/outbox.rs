//! Where messages to other members leave the replica.

use ::raft::eraftpb::Message;

/// Takes messages to other members. May lose, delay and reorder them; must neither block nor change them.
pub(crate) trait Outbox: Send {
    /// Takes one message; `to` and `from` are in it.
    fn send(&mut self, message: Message);
}

/// The outbox of a node without a way to others. Raft gives it nothing to send while it is the only voter.
pub(crate) struct Nowhere;

impl Outbox for Nowhere {
    fn send(&mut self, message: Message) {
        tracing::debug!(to = message.to, kind = ?message.get_msg_type(), "no way to another member");
    }
}
