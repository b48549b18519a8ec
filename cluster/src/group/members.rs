//! Who takes part, as the leader sees it.

use causeway_core::ids::NodeId;
use causeway_core::node::{self, Node};
use causeway_core::plan::Members;
use causeway_core::state::State;

use crate::raft::membership::MAXIMUM_ENTRIES_BEHIND;
use crate::status::{MemberProgress, MemberState, RaftStatus};

/// The voter that lacks least of a leader's log, was heard lately, and is to stay one.
pub(super) fn successor(status: &RaftStatus, view: &State) -> Option<NodeId> {
    let stays = |node| view.nodes.get(&node).is_some_and(|is: &Node| is.role == node::MemberRole::Voter);
    let others = status.members.iter().filter(|member| Some(member.node) != status.leader);
    let voters = others.filter(|member| member.is_voter() && stays(member.node));
    let there = voters.filter_map(|member| Some((member.progress.filter(|progress| progress.active)?, member.node)));
    there.max_by_key(|(progress, _)| progress.matched).map(|(_, node)| node)
}

/// The members of a group that this node leads.
pub(super) fn members(leader: NodeId, status: &RaftStatus) -> Members {
    let mut members = Members { leader, ..Members::default() };
    for member in &status.members {
        match member.role {
            MemberState::Voter => members.voters.insert(member.node),
            MemberState::Learner => members.learners.insert(member.node),
            MemberState::IncomingVoter | MemberState::OutgoingVoter | MemberState::VoterBecomingLearner => {
                members.changing = true;
                members.voters.insert(member.node)
            }
        };
        let near = |progress: &MemberProgress| {
            progress.active && status.last_index.saturating_sub(progress.matched) <= MAXIMUM_ENTRIES_BEHIND
        };
        if member.progress.as_ref().is_some_and(near) {
            members.caught_up.insert(member.node);
        }
    }
    members
}
