//! The next change of Raft's membership: one step at a time, until it is what the state asks for.
//!
//! A node that was admitted becomes a learner first, once its first start was agreed on; a learner that shall vote is
//! promoted when it has caught up, because a voter that lacks most of the log makes the group wait for it.

use std::collections::BTreeSet;

use crate::ids::NodeId;
use crate::node::MemberRole;
use crate::state::State;

/// One change of the membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberChange {
    /// A node that is no member becomes a learner.
    AddLearner(NodeId),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
    /// A member is no member any more.
    Remove(NodeId),
}

impl MemberChange {
    /// The member that it is about.
    #[must_use]
    pub fn node(self) -> NodeId {
        let (Self::AddLearner(node) | Self::Promote(node) | Self::Demote(node) | Self::Remove(node)) = self;
        node
    }

    /// Whether the state asks for it still, though perhaps not yet or not next.
    #[must_use]
    pub fn is_wanted(self, view: &State, members: &Members) -> bool {
        let node = self.node();
        let (votes, learns) = (members.voters.contains(&node), members.learners.contains(&node));
        let wanted = view.nodes.get(&node).map(|node| node.role);
        match self {
            Self::AddLearner(_) => wanted.is_some() && !votes && !learns,
            Self::Promote(_) => learns && wanted == Some(MemberRole::Voter),
            Self::Demote(_) => votes && wanted == Some(MemberRole::Learner),
            Self::Remove(_) => (votes || learns) && wanted.is_none(),
        }
    }
}

/// Raft's membership as its leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Who decides.
    pub voters: BTreeSet<NodeId>,
    /// Who listens.
    pub learners: BTreeSet<NodeId>,
    /// Members that have nearly the whole log.
    pub caught_up: BTreeSet<NodeId>,
    /// Whether the last change is not in force yet.
    pub changing: bool,
    /// Who leads: it hands over before it is demoted or removed.
    pub leader: NodeId,
}

/// The change to make now; none when there is nothing to do, or nothing yet.
///
/// Promotions come before demotions and removals, so that the group never has fewer voters than it has to; the leader
/// itself is demoted or removed by its successor.
#[must_use]
pub fn next_member_change(view: &State, members: &Members) -> Option<MemberChange> {
    if members.changing {
        return None;
    }
    let wanted = |node: &NodeId| view.nodes.get(node).map(|node| node.role);
    let is_member = |node: &NodeId| members.voters.contains(node) || members.learners.contains(node);
    let promote = members
        .learners
        .iter()
        .find(|node| wanted(node) == Some(MemberRole::Voter) && members.caught_up.contains(node));
    // Until its first start is agreed on, the token that let a node in lets it in again under the same number, with an
    // empty disk. A leader that remembers what this number confirmed as a member would have the node believe that its
    // disk lost it.
    let add = view.nodes.iter().find(|(node, is)| is.starts > 0 && !is_member(node)).map(|(node, _)| node);
    let spare = members.voters.len() > 1;
    let others = || members.voters.iter().filter(|node| **node != members.leader && spare);
    let demote = others().find(|node| wanted(node) == Some(MemberRole::Learner));
    // One that is gone first: it needs nobody's consent but the others', and makes room for what else is to change.
    let leaving = || members.learners.iter().chain(others()).filter(|node| wanted(node).is_none());
    let gone = leaving().find(|node| !members.caught_up.contains(node));
    let remove = gone.or_else(|| leaving().next());
    promote
        .map(|node| MemberChange::Promote(*node))
        .or_else(|| add.map(|node| MemberChange::AddLearner(*node)))
        .or_else(|| gone.map(|node| MemberChange::Remove(*node)))
        .or_else(|| demote.map(|node| MemberChange::Demote(*node)))
        .or_else(|| remove.map(|node| MemberChange::Remove(*node)))
}
