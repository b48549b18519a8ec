//! Step 9 of a turn: committed entries change the state.
//!
//! What they change is decided in `causeway_core::state`, the same on every member. An entry that is not understood
//! stops this node: to skip it would make its state differ from the others'.

use std::sync::Arc;

use ::raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType, HardState};
use causeway_core::command::{CURRENT_VERSION, Command, Envelope};
use causeway_core::outcome::{Outcome, Refusal};
use causeway_storage::raft_log::Position;
use protobuf::Message as _;

use super::disk::Disk;
use super::replica::Replica;
use super::{convert, entry, membership};
use crate::error::Fatal;

impl<D: Disk> Replica<D> {
    /// Applies both halves of what a turn found committed, in order.
    pub(super) fn apply(&mut self, first: Vec<Entry>, second: Vec<Entry>) -> Result<(), Fatal> {
        let mut members_changed = false;
        for entry in first.into_iter().chain(second) {
            self.apply_entry(&entry)?;
            members_changed |= entry.get_entry_type() != EntryType::EntryNormal;
            self.applied = Position { index: entry.index, term: entry.term };
            self.applied_bytes = self.applied_bytes.saturating_add(u64::try_from(entry.data.len()).unwrap_or(u64::MAX));
        }
        if members_changed {
            self.keep_membership()?;
        }
        self.node.advance_apply_to(self.applied.index);
        Ok(())
    }

    /// Makes durable that the changes of members which were applied are committed. Otherwise a start would go back to
    /// the membership of the newest snapshot, and wait for a majority of members that are long gone.
    fn keep_membership(&mut self) -> Result<(), Fatal> {
        let commit = self.applied.index;
        let hard_state = HardState { commit, ..self.node.raft.hard_state() };
        self.node.mut_store().stage_hard_state(&hard_state);
        self.write_and_sync(true)
    }

    fn apply_entry(&mut self, entry: &Entry) -> Result<(), Fatal> {
        let leader = self.leader();
        let (request, outcome) = match entry.get_entry_type() {
            // A new leader's first entry.
            EntryType::EntryNormal if entry.data.is_empty() => (None, Outcome::Done),
            EntryType::EntryNormal => {
                let envelope: Envelope = entry::unwrap(&entry.data, &format!("log entry {}", entry.index))?;
                let outcome = self.apply_command(entry.index, &envelope);
                if let Outcome::Refused(Refusal::NoSuchVersion(found)) = outcome {
                    // It is refused for an older build among the nodes before this is looked at: only this node's own
                    // build, which once was a newer one, is behind.
                    let place = format!("log entry {}", entry.index);
                    return Err(Fatal::UnknownVersion { place, found, supported: CURRENT_VERSION });
                }
                (Some(envelope.request), outcome)
            }
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => (self.apply_membership(entry)?, Outcome::Done),
        };
        self.proposals.applied(entry.index, request, outcome, leader);
        Ok(())
    }

    fn apply_command(&mut self, index: u64, envelope: &Envelope) -> Outcome {
        self.changed = true;
        self.routes_due |= !matches!(envelope.command, Command::RecordProgress { .. });
        // Clones once per turn: as soon as the published view is a different one, the state is ours alone again.
        Arc::make_mut(&mut self.state).apply(index, envelope)
    }

    /// Answers the request id of the change.
    fn apply_membership(&mut self, entry: &Entry) -> Result<Option<u128>, Fatal> {
        let undecodable = |error: protobuf::ProtobufError| Fatal::Undecodable {
            place: format!("log entry {}", entry.index),
            reason: error.to_string(),
        };
        let (members, request) = if entry.get_entry_type() == EntryType::EntryConfChange {
            let change = ConfChange::parse_from_bytes(&entry.data).map_err(undecodable)?;
            (self.node.apply_conf_change(&change), None)
        } else {
            let change = ConfChangeV2::parse_from_bytes(&entry.data).map_err(undecodable)?;
            (self.node.apply_conf_change(&change), membership::request(&change))
        };
        // To go on with another membership than the log's would be to follow another group.
        let members =
            members.map_err(|error| Fatal::Raft { action: "change the membership", reason: error.to_string() })?;
        self.membership = convert::membership(&members);
        self.membership_changed();
        Ok(request)
    }
}
