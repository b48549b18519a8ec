//! The way of Raft's messages into the transport.

use std::sync::{Arc, OnceLock};

use causeway_core::ids::NodeId;

use super::Wire;
use crate::raft::message::MessageKind;
use crate::raft::outbox::Outbox;

/// Gives messages to the transport. Before there is one they are lost, as on a network.
pub(super) struct WireOutbox {
    pub(super) wire: Arc<OnceLock<Wire>>,
}

impl Outbox for WireOutbox {
    fn send(&mut self, to: NodeId, kind: MessageKind, bytes: Vec<u8>) {
        let Some(Wire { transport, handle }) = self.wire.get() else {
            return tracing::debug!(%to, ?kind, "no way to other nodes yet");
        };
        match kind {
            MessageKind::Ordinary => {
                if let Err(error) = transport.send_raft(to, bytes) {
                    tracing::debug!(%to, %error, "message lost");
                }
            }
            MessageKind::Snapshot => {
                let handle = handle.clone();
                transport.send_snapshot(to, bytes, move |sent| {
                    if let Err(error) = &sent {
                        tracing::info!(%to, %error, "the snapshot did not arrive; it is sent again");
                    }
                    if let Some(handle) = handle.upgrade() {
                        handle.snapshot_sent(to, sent.is_ok());
                    }
                });
            }
        }
    }
}
