//! Messages of other members: decoded once, refused where they cannot be meant for this replica.
//!
//! raft-rs trusts what it is given and panics on some of it, so whatever a member never sends is refused here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::raft::eraftpb::{Message, MessageType};
use causeway_core::ids::NodeId;
use protobuf::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a message beside a snapshot's state needs at most: the rest of the snapshot, or the fields of an append.
const ROOM_BYTES: usize = 1024 * 1024;
/// The longest context of a request to read, in bytes.
const MAXIMUM_CONTEXT_BYTES: usize = 64;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Small or of the size of one append; late is as bad as lost.
    Ordinary,
    /// Carries a whole state: seldom, large, and better on a way of its own.
    Snapshot,
}

impl MessageKind {
    /// The largest encoded message of this kind, in bytes.
    #[must_use]
    pub const fn maximum_bytes(self) -> usize {
        match self {
            // One entry of the largest size that can be stored; several together are far below it.
            Self::Ordinary => causeway_storage::codec::MAXIMUM_VALUE_BYTES.saturating_add(ROOM_BYTES),
            Self::Snapshot => causeway_core::codec::MAXIMUM_DECODED_BYTES.saturating_add(ROOM_BYTES),
        }
    }

    pub(crate) fn of(message: &Message) -> Self {
        if message.get_msg_type() == MessageType::MsgSnapshot { Self::Snapshot } else { Self::Ordinary }
    }
}

/// The room for messages that were received and not looked at yet. What finds none is dropped, as a network may.
pub(crate) struct Incoming {
    room: Arc<Semaphore>,
    dropped: AtomicU64,
    refused: AtomicU64,
}

impl Incoming {
    /// The most messages that have room at once.
    pub(crate) const MAXIMUM_MESSAGES: usize = 4096;
    /// The largest message has room when nothing else waits.
    const BYTES: usize = MessageKind::Snapshot.maximum_bytes();
    const MINIMUM_COST: usize = Self::BYTES / Self::MAXIMUM_MESSAGES;

    pub(crate) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(Self::BYTES)), dropped: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Room for a message of so many bytes; none when it has to be dropped.
    pub(crate) fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let cost = u32::try_from(bytes.clamp(Self::MINIMUM_COST, Self::BYTES)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(cost).ok()
    }

    pub(crate) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn refuse_one(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Why a message was refused. Nothing of it was looked at by Raft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// Larger than any message of its kind.
    #[error("a message of {bytes} bytes is above the maximum of {maximum}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest of its kind.
        maximum: usize,
    },
    /// The bytes are no message.
    #[error("the bytes are no message: {reason}")]
    Undecodable {
        /// Why.
        reason: String,
    },
    /// It is meant for another node.
    #[error("a message to node {to} reached node {node}")]
    Misdirected {
        /// Whom it is meant for.
        to: NodeId,
        /// Who received it.
        node: NodeId,
    },
    /// It says that it is from another node than the one that it came from.
    #[error("node {peer} sent a message in the name of node {from}")]
    Misattributed {
        /// Whose it says that it is.
        from: NodeId,
        /// Who sent it.
        peer: NodeId,
    },
    /// No member sends such a message to another.
    #[error("no member sends such a message: {reason}")]
    Unexpected {
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Decodes a message that `peer` sent to `node`.
pub(crate) fn decode(bytes: &[u8], peer: NodeId, node: NodeId) -> Result<Message, MessageFault> {
    within(bytes.len(), MessageKind::Snapshot)?;
    let message =
        Message::parse_from_bytes(bytes).map_err(|error| MessageFault::Undecodable { reason: error.to_string() })?;
    within(bytes.len(), MessageKind::of(&message))?;
    if message.to != node.0 {
        return Err(MessageFault::Misdirected { to: NodeId(message.to), node });
    }
    if message.from != peer.0 {
        return Err(MessageFault::Misattributed { from: NodeId(message.from), peer });
    }
    match fault(&message, node) {
        Some(reason) => Err(MessageFault::Unexpected { reason }),
        None => Ok(message),
    }
}

fn within(bytes: usize, kind: MessageKind) -> Result<(), MessageFault> {
    let maximum = kind.maximum_bytes();
    if bytes > maximum { Err(MessageFault::TooLarge { bytes, maximum }) } else { Ok(()) }
}

/// What no member would send; none for a sound message.
fn fault(message: &Message, node: NodeId) -> Option<&'static str> {
    let kind = message.get_msg_type();
    if message.from == ::raft::INVALID_ID || message.from == node.0 {
        return Some("it is from nobody, or from this node itself");
    }
    match kind {
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => return Some("a member sends it to itself only"),
        // A follower answers that it is not the leader; the caller then goes to the leader itself.
        MessageType::MsgPropose | MessageType::MsgTransferLeader => return Some("only a leader is asked for it"),
        _ => {}
    }
    // A request to read reaches whoever leads, in whatever term.
    if (message.term == 0) != (kind == MessageType::MsgReadIndex) {
        return Some("its term");
    }
    let sound = match kind {
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => {
            matches!(message.get_entries(), [entry] if (1..=MAXIMUM_CONTEXT_BYTES).contains(&entry.data.len()))
        }
        MessageType::MsgSnapshot => message.get_entries().is_empty() && message.get_snapshot().get_metadata().index > 0,
        MessageType::MsgAppend => follow_each_other(message),
        _ => message.get_entries().is_empty(),
    };
    (!sound).then_some("its entries")
}

fn follow_each_other(append: &Message) -> bool {
    let mut before = (append.index, append.log_term);
    append.get_entries().iter().all(|entry| {
        let follows = before.0.checked_add(1) == Some(entry.index) && entry.term >= before.1;
        before = (entry.index, entry.term);
        follows && entry.term <= append.term
    })
}

#[cfg(test)]
mod tests {
    use ::raft::eraftpb::{Entry, Message, MessageType};
    use causeway_core::ids::NodeId;
    use proptest::prelude::*;
    use protobuf::Message as _;

    use super::{MessageFault, MessageKind, decode};

    fn message(kind: MessageType, entries: &[(u64, u64)]) -> Message {
        let mut message = Message::default();
        message.set_msg_type(kind);
        (message.from, message.to, message.term, message.index, message.log_term) = (2, 1, 5, 7, 3);
        let entry = |(index, term)| Entry { index, term, data: vec![1; 16].into(), ..Entry::default() };
        message.set_entries(entries.iter().copied().map(entry).collect::<Vec<_>>().into());
        message
    }

    fn decoded(message: &Message) -> Result<Message, MessageFault> {
        decode(&message.write_to_bytes().unwrap(), NodeId(message.from), NodeId(1))
    }

    #[test]
    fn a_sound_message_comes_back_as_it_was() {
        for sound in [
            message(MessageType::MsgAppend, &[(8, 3), (9, 5)]),
            message(MessageType::MsgHeartbeat, &[]),
            message(MessageType::MsgReadIndexResp, &[(0, 0)]),
        ] {
            assert_eq!(decoded(&sound).unwrap(), sound);
        }
    }

    #[test]
    fn what_no_member_sends_is_refused() {
        let from_itself = Message { from: 1, ..message(MessageType::MsgHeartbeat, &[]) };
        let without_term = Message { term: 0, ..message(MessageType::MsgHeartbeat, &[]) };
        for wrong in [
            from_itself,
            without_term,
            message(MessageType::MsgHup, &[]),
            message(MessageType::MsgPropose, &[(1, 1)]),
            message(MessageType::MsgReadIndex, &[(0, 0)]),
            message(MessageType::MsgReadIndexResp, &[]),
            message(MessageType::MsgSnapshot, &[]),
            message(MessageType::MsgAppend, &[(9, 5)]),
            message(MessageType::MsgAppend, &[(8, 5), (9, 4)]),
            message(MessageType::MsgAppend, &[(8, 6)]),
        ] {
            assert!(matches!(decoded(&wrong), Err(MessageFault::Unexpected { .. })), "{wrong:?}");
        }
        let misdirected = Message { to: 3, ..message(MessageType::MsgHeartbeat, &[]) };
        assert!(matches!(decoded(&misdirected), Err(MessageFault::Misdirected { to: NodeId(3), .. })));
        let heartbeat = message(MessageType::MsgHeartbeat, &[]).write_to_bytes().unwrap();
        let forged = decode(&heartbeat, NodeId(3), NodeId(1));
        assert_eq!(forged, Err(MessageFault::Misattributed { from: NodeId(2), peer: NodeId(3) }));
    }

    #[test]
    fn what_is_too_large_is_refused_by_its_kind() {
        let append = Message {
            context: vec![0; MessageKind::Ordinary.maximum_bytes()].into(),
            ..message(MessageType::MsgHeartbeat, &[])
        };
        assert!(matches!(decoded(&append), Err(MessageFault::TooLarge { .. })));
        let larger = vec![0; MessageKind::Snapshot.maximum_bytes() + 1];
        assert!(matches!(decode(&larger, NodeId(2), NodeId(1)), Err(MessageFault::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, NodeId(2), NodeId(1));
        }

        #[test]
        fn a_cut_message_is_no_other_message_of_the_same_content(cut in 0_usize..60) {
            let whole = message(MessageType::MsgAppend, &[(8, 3), (9, 5)]);
            let bytes = whole.write_to_bytes().unwrap();
            prop_assume!(cut < bytes.len());
            prop_assert_ne!(decode(&bytes[..cut], NodeId(2), NodeId(1)).ok(), Some(whole));
        }
    }
}
