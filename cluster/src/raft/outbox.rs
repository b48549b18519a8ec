//! Where messages to other members leave the replica.

use causeway_core::ids::NodeId;

use super::message::MessageKind;

/// Takes messages to other members, encoded: [`crate::Handle::receive`] of the other node reads them.
///
/// May lose, delay, repeat and reorder them; must neither block nor change them. Whoever carries a message of kind
/// [`MessageKind::Snapshot`] says once what became of it with [`crate::Handle::snapshot_sent`], also when it was
/// dropped unsent: until then the leader sends that member nothing else.
pub trait Outbox: Send {
    /// Takes one message. At most [`MessageKind::maximum_bytes`] long.
    fn send(&mut self, to: NodeId, kind: MessageKind, bytes: Vec<u8>);
}

/// The outbox of a node without a way to others. Raft gives it nothing to send while it is the only voter.
pub(crate) struct Nowhere;

impl Outbox for Nowhere {
    fn send(&mut self, to: NodeId, kind: MessageKind, _bytes: Vec<u8>) {
        tracing::debug!(%to, ?kind, "no way to another member");
    }
}
