//! Between raft-rs's values and the stored ones. Nothing is decided here.

use ::raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use causeway_core::ids::NodeId;
use causeway_storage::raft_log::{EntryKind, LogEntry, Position};
use causeway_storage::raft_meta;
use causeway_storage::snapshot_file::Membership;

pub(super) fn stored_entry(entry: &Entry) -> LogEntry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => EntryKind::Normal,
        EntryType::EntryConfChange => EntryKind::MemberChange,
        EntryType::EntryConfChangeV2 => EntryKind::MembersChange,
    };
    LogEntry { position: Position { index: entry.index, term: entry.term }, kind, data: entry.data.to_vec() }
}

pub(super) fn raft_entry(stored: LogEntry) -> Entry {
    let mut entry = Entry::default();
    entry.set_entry_type(match stored.kind {
        EntryKind::Normal => EntryType::EntryNormal,
        EntryKind::MemberChange => EntryType::EntryConfChange,
        EntryKind::MembersChange => EntryType::EntryConfChangeV2,
    });
    entry.index = stored.position.index;
    entry.term = stored.position.term;
    entry.data = stored.data.into();
    entry
}

pub(super) fn stored_hard_state(hard_state: &HardState) -> raft_meta::HardState {
    raft_meta::HardState { term: hard_state.term, vote: NodeId(hard_state.vote), commit: hard_state.commit }
}

pub(super) fn raft_hard_state(stored: &raft_meta::HardState) -> HardState {
    HardState { term: stored.term, vote: stored.vote.0, commit: stored.commit, ..HardState::default() }
}

/// In the order of the nodes' numbers, whatever order raft-rs keeps them in.
pub(super) fn membership(state: &ConfState) -> Membership {
    let nodes = |ids: &[u64]| {
        let mut nodes: Vec<NodeId> = ids.iter().copied().map(NodeId).collect();
        nodes.sort_unstable();
        nodes
    };
    Membership {
        voters: nodes(&state.voters),
        learners: nodes(&state.learners),
        voters_outgoing: nodes(&state.voters_outgoing),
        learners_next: nodes(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

pub(super) fn conf_state(membership: &Membership) -> ConfState {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    ConfState {
        voters: ids(&membership.voters),
        learners: ids(&membership.learners),
        voters_outgoing: ids(&membership.voters_outgoing),
        learners_next: ids(&membership.learners_next),
        auto_leave: membership.auto_leave,
        ..ConfState::default()
    }
}

/// A snapshot as it travels: `data` is the versioned state.
pub(super) fn raft_snapshot(position: Position, members: &Membership, data: Vec<u8>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = position.index;
    metadata.term = position.term;
    metadata.set_conf_state(conf_state(members));
    snapshot.data = data.into();
    snapshot
}

pub(super) fn snapshot_position(snapshot: &Snapshot) -> Position {
    let metadata = snapshot.get_metadata();
    Position { index: metadata.index, term: metadata.term }
}
