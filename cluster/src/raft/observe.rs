//! What a simulation sees of a replica, and the one thing that it decides for it.

use std::sync::Arc;

use causeway_core::command::Envelope;
use causeway_core::state::State;
use causeway_storage::raft_log::Position;
use causeway_storage::snapshot_file::Membership;

use super::disk::Disk;
use super::entry;
use super::replica::Replica;

impl<D: Disk> Replica<D> {
    /// raft-rs draws its election timeout from a random source of the thread. Whoever needs the same run twice sets it
    /// after every call.
    pub(crate) fn pin_election_timeout(&mut self, ticks: usize) {
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    pub(crate) fn applied(&self) -> Position {
        self.applied
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }
}

/// The command in a log entry; none when it is not understood.
pub(crate) fn envelope(data: &[u8]) -> Option<Envelope> {
    entry::unwrap(data, "the entry").ok()
}
