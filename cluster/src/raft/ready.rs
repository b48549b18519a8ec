//! How a proposal becomes durable: the nine steps of raft-rs's ready loop, in order, on one screen.
//!
//! Never reorder them. Messages that promise something leave after the disk barrier, and nothing is applied that is not
//! on this disk. A leader's own appends may travel before its barrier (step 1): they promise nothing yet, but for those
//! of the only voter in the turn in which it elects itself. They name a term that it would not know after a crash.

use ::raft::ReadState;
use ::raft::eraftpb::{Entry, HardState, Message};
use causeway_core::ids::NodeId;
use protobuf::Message as _;

use super::disk::Disk;
use super::message::MessageKind;
use super::replica::Replica;
use crate::error::Fatal;

impl<D: Disk> Replica<D> {
    /// One turn; at most one disk barrier, however many proposals it carries.
    pub(super) fn process_ready(&mut self) -> Result<(), Fatal> {
        let mut ready = self.node.ready();
        let early = if self.begins_term(ready.hs()) { Vec::new() } else { ready.take_messages() };
        self.send(early); //                                          1. what promises nothing
        self.install_snapshot(ready.snapshot())?; //                  2. a leader's snapshot replaces the log
        self.stage_entries(ready.entries()); //                       3. new entries
        self.stage_hard_state(ready.hs(), ready.must_sync()); //      4. new promises
        self.write_and_sync(ready.must_sync())?; //                   5. all of it at once, then the disk barrier
        self.send(ready.take_messages()); //                          6. what promises something
        self.send(ready.take_persisted_messages());
        let committed = ready.take_committed_entries();
        let confirmed = ready.take_read_states();
        let mut light = self.node.advance_append(ready); //           7. tell Raft what is durable
        self.send(light.take_messages()); //                          8. what follows from that
        self.apply(committed, light.take_committed_entries())?; //    9. apply what is committed
        self.confirm_reads(confirmed);
        Ok(())
    }

    /// Whether the disk does not know of this term yet.
    fn begins_term(&self, hard_state: Option<&HardState>) -> bool {
        let stored = self.node.store().disk().hard_state().unwrap_or_default();
        hard_state.is_some_and(|promised| promised.term > stored.term)
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            match message.write_to_bytes() {
                Ok(bytes) => self.outbox.send(NodeId(message.to), MessageKind::of(&message), bytes),
                // As good as lost, and sent again.
                Err(error) => tracing::warn!(%error, to = message.to, "a message cannot be encoded"),
            }
        }
    }

    fn confirm_reads(&mut self, confirmed: Vec<ReadState>) {
        for ReadState { index, request_ctx } in confirmed {
            self.reads.confirm(&request_ctx, index);
        }
    }

    fn stage_entries(&mut self, entries: &[Entry]) {
        self.node.mut_store().stage_entries(entries);
    }

    /// A commit index alone is not worth a write: it is known again from the leader, or from the log of the only voter.
    /// One that commits a change of members is written in step 9.
    fn stage_hard_state(&mut self, hard_state: Option<&HardState>, must_sync: bool) {
        if let Some(hard_state) = hard_state.filter(|_| must_sync) {
            self.node.mut_store().stage_hard_state(hard_state);
        }
    }

    pub(super) fn write_and_sync(&mut self, must_sync: bool) -> Result<(), Fatal> {
        if !must_sync {
            return Ok(());
        }
        self.node.mut_store().write()?;
        let took = self.node.mut_store().disk_mut().barrier()?;
        self.barriers.record(took);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
