//! Who takes part in the group, and how that changes: one member and one step at a time.
//!
//! A change takes effect on each member when that member applies it, so two changes at once could give two disjoint
//! majorities. The next one is therefore refused until the one before was applied here, and every change is one that
//! moves at most one vote: any majority before it and any majority after it have a member in common. Nothing here ever
//! enters a joint membership, not even to demote a voter: to add a voter as a learner takes its vote away in the same
//! entry, and as that moves one vote only, raft-rs applies it as a simple change. Its joint memberships end by
//! themselves only while the leader that began them stays, which is one thing less to rely on.
//!
//! A member that is removed learns it from the entry itself when it is told in time. If not, it asks for votes in
//! vain: with pre-vote, and as the others hear from their leader, it disturbs nobody.

use std::collections::BTreeMap;
use std::fmt;

use ::raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use ::raft::{ProgressState, StateRole};
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::NodeId;
pub use causeway_core::plan::MemberChange;
use causeway_storage::raft_log::EntryKind;
use causeway_storage::snapshot_file::Membership;
use protobuf::Message as _;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::proposals::Reply;
use super::replica::Replica;
use crate::error::Error;
use crate::status::{MemberProgress, MemberState, MemberStatus};

/// How many entries a learner may be behind the leader's log to become a voter, and a voter to become the leader.
pub const MAXIMUM_ENTRIES_BEHIND: u64 = 256;

/// Why members were not changed, or leadership was not handed over. Nothing was changed by the call. It travels between
/// nodes, so the order of the variants is part of its form; new ones are added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeRefusal {
    /// Another change is in the log and not applied yet. Try again later.
    InProgress,
    /// Leadership is being handed over. Try again later.
    TransferInProgress,
    /// Node 0 is nobody.
    Nobody,
    /// It takes part already.
    AlreadyMember {
        /// The node.
        node: NodeId,
    },
    /// It takes no part.
    NotMember {
        /// The node.
        node: NodeId,
    },
    /// Only learners can be promoted.
    NotLearner {
        /// The node.
        node: NodeId,
    },
    /// Only voters can be demoted or lead.
    NotVoter {
        /// The node.
        node: NodeId,
    },
    /// Without it nobody could decide anything any more.
    LastVoter {
        /// The node.
        node: NodeId,
    },
    /// It leads: hand over leadership first.
    Leads {
        /// The node.
        node: NodeId,
    },
    /// Its log is too short, or it was not heard from lately. Try again later.
    NotCaughtUp {
        /// The node.
        node: NodeId,
        /// Entries of the leader's log that it is not known to have.
        behind: u64,
        /// Whether it was heard from within the last election timeout.
        active: bool,
    },
    /// Too few of the remaining voters are there: the group could not decide anything afterwards.
    NoMajority {
        /// Voters that would remain and were heard from within the last election timeout, the leader included.
        active: usize,
        /// Voters that would remain.
        voters: usize,
    },
    /// No other voter is there that could lead.
    NoSuccessor,
}

impl ChangeRefusal {
    /// In words, with nodes called as `name` calls them.
    #[must_use]
    pub fn told(self, name: impl Fn(NodeId) -> String) -> String {
        match self {
            Self::InProgress => "another change of members is in progress".to_owned(),
            Self::TransferInProgress => "leadership is being handed over".to_owned(),
            Self::Nobody => "node 0 cannot be a member".to_owned(),
            Self::AlreadyMember { node } => format!("{} is a member already", name(node)),
            Self::NotMember { node } => format!("{} is no member", name(node)),
            Self::NotLearner { node } => format!("{} is no learner", name(node)),
            Self::NotVoter { node } => format!("{} is no voter", name(node)),
            Self::LastVoter { node } => format!("{} is the last voter", name(node)),
            Self::Leads { node } => format!("{} leads; hand over leadership to another voter first", name(node)),
            Self::NotCaughtUp { node, behind, active: true } => {
                format!("{} lacks {behind} entries of the leader's log", name(node))
            }
            Self::NotCaughtUp { node, behind, active: false } => {
                format!(
                    "{} is out of reach: the leader has not heard from it lately, and it lacks {behind} entries of \
                         the log",
                    name(node)
                )
            }
            Self::NoMajority { active, voters } => {
                format!("only {active} of the {voters} voters that would remain were heard from lately")
            }
            Self::NoSuccessor => {
                "no other voter can lead: none is within the leader's reach that is to stay one".to_owned()
            }
        }
    }

    /// The stable code that operators see: whether to ask again later or to ask for something else.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::InProgress
            | Self::TransferInProgress
            | Self::NotCaughtUp { .. }
            | Self::NoMajority { .. }
            | Self::NoSuccessor => ErrorCode::Unavailable,
            Self::Nobody
            | Self::AlreadyMember { .. }
            | Self::NotMember { .. }
            | Self::NotLearner { .. }
            | Self::NotVoter { .. }
            | Self::LastVoter { .. }
            | Self::Leads { .. } => ErrorCode::InvalidRequest,
        }
    }
}

impl fmt::Display for ChangeRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.told(|node| format!("node {node}")))
    }
}

impl std::error::Error for ChangeRefusal {}

/// When other members were last heard from, in ticks of this replica.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeMap<u64, u64>);

impl Heard {
    pub(super) fn note(&mut self, node: u64, now: u64) {
        self.0.insert(node, now);
    }

    fn within(&self, node: NodeId, now: u64, ticks: u64) -> bool {
        self.0.get(&node.0).is_some_and(|at| now.saturating_sub(*at) <= ticks)
    }
}

/// A change on its way into the log.
pub(crate) struct ChangeMember {
    /// What to change.
    pub(crate) change: MemberChange,
    /// Random: pairs the applied entry with the call.
    pub(crate) request: u128,
    /// Where it is told that the change was applied here.
    pub(crate) reply: Reply,
}

impl<D: Disk> Replica<D> {
    /// Takes a change of members into the log, or refuses it.
    pub(crate) fn change_member(&mut self, change: ChangeMember) {
        let ChangeMember { change, request, reply } = change;
        let proposed = self.may_change(change).and_then(|()| {
            self.node.propose_conf_change(Vec::new(), entry(change, request)).map_err(|error| {
                // The only refusal left: too much is not committed yet.
                tracing::debug!(%error, "change of members refused");
                Error::Busy
            })
        });
        match proposed {
            Ok(()) => self.proposals.wait(self.node.raft.raft_log.last_index(), request, reply),
            // A caller that no longer waits needs no answer.
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    fn may_change(&self, change: MemberChange) -> Result<(), Error> {
        if self.node.raft.state != StateRole::Leader {
            return Err(Error::NotLeader { leader: self.leader() });
        }
        if self.change_in_progress() {
            return Err(ChangeRefusal::InProgress.into());
        }
        if self.node.raft.lead_transferee.is_some() {
            return Err(ChangeRefusal::TransferInProgress.into());
        }
        let Membership { voters, learners, .. } = &self.membership;
        let node = change.node();
        let (votes, learns) = (voters.contains(&node), learners.contains(&node));
        match change {
            MemberChange::AddLearner(_) if node.0 == ::raft::INVALID_ID => Err(ChangeRefusal::Nobody.into()),
            MemberChange::AddLearner(_) if votes || learns => Err(ChangeRefusal::AlreadyMember { node }.into()),
            MemberChange::AddLearner(_) => Ok(()),
            MemberChange::Promote(_) if !learns => Err(ChangeRefusal::NotLearner { node }.into()),
            MemberChange::Promote(_) => Ok(self.verify_caught_up(node)?),
            MemberChange::Demote(_) if !votes => Err(ChangeRefusal::NotVoter { node }.into()),
            MemberChange::Remove(_) if !votes && !learns => Err(ChangeRefusal::NotMember { node }.into()),
            MemberChange::Demote(_) | MemberChange::Remove(_) if votes => Ok(self.verify_dispensable(node)?),
            MemberChange::Demote(_) | MemberChange::Remove(_) => Ok(()),
        }
    }

    /// Whether a change is, or may be, in the log and not applied yet. Right after an election that is not known.
    pub(super) fn change_in_progress(&self) -> bool {
        self.node.raft.has_pending_conf() || !self.membership.voters_outgoing.is_empty()
    }

    /// Whether a voter is close enough behind the leader, and there.
    pub(super) fn verify_caught_up(&self, node: NodeId) -> Result<(), ChangeRefusal> {
        let matched = self.node.raft.prs().get(node.0).map_or(0, |progress| progress.matched);
        let behind = self.node.raft.raft_log.last_index().saturating_sub(matched);
        let active = self.is_active(node);
        if behind <= MAXIMUM_ENTRIES_BEHIND && active {
            Ok(())
        } else {
            Err(ChangeRefusal::NotCaughtUp { node, behind, active })
        }
    }

    /// Whether the other voters can decide without this one.
    fn verify_dispensable(&self, node: NodeId) -> Result<(), ChangeRefusal> {
        let rest: Vec<NodeId> = self.membership.voters.iter().copied().filter(|voter| *voter != node).collect();
        if rest.is_empty() {
            return Err(ChangeRefusal::LastVoter { node });
        }
        if node == self.id() {
            return Err(ChangeRefusal::Leads { node });
        }
        let active = rest.iter().filter(|voter| self.is_active(**voter)).count();
        if active > rest.len() / 2 { Ok(()) } else { Err(ChangeRefusal::NoMajority { active, voters: rest.len() }) }
    }

    /// raft-rs forgets at every check of its quorum who was active, so that right after it nobody is. This does not.
    fn is_active(&self, node: NodeId) -> bool {
        node == self.id() || self.heard.within(node, self.ticks, self.election_ticks)
    }

    /// Follows an applied change.
    pub(super) fn membership_changed(&mut self) {
        let raft = &mut self.node.raft;
        self.heard.0.retain(|node, _| raft.prs().get(*node).is_some());
        if raft.state == StateRole::Leader && !raft.promotable() {
            // A leader never begins its own removal, but it may have been elected with that in its log. raft-rs would
            // go on, and panic when it counts its own log for the next commit.
            tracing::info!("no voter any more: leadership ends");
            raft.become_follower(raft.term, ::raft::INVALID_ID);
        }
    }

    /// Everybody who takes part, in the order of their numbers.
    pub(super) fn members(&self) -> Vec<MemberStatus> {
        let leads = self.node.raft.state == StateRole::Leader;
        let roles = roles(&self.membership);
        let member =
            |(node, role)| MemberStatus { node, role, progress: if leads { self.progress(node) } else { None } };
        roles.into_iter().map(member).collect()
    }

    fn progress(&self, node: NodeId) -> Option<MemberProgress> {
        let progress = self.node.raft.prs().get(node.0)?;
        let waits = progress.state == ProgressState::Snapshot;
        Some(MemberProgress {
            matched: progress.matched,
            active: self.is_active(node),
            pending_snapshot: waits.then_some(progress.pending_snapshot),
        })
    }
}

fn roles(membership: &Membership) -> BTreeMap<NodeId, MemberState> {
    let Membership { voters, learners, voters_outgoing, learners_next, .. } = membership;
    let joint = !voters_outgoing.is_empty();
    let mut roles: BTreeMap<NodeId, MemberState> = learners.iter().map(|node| (*node, MemberState::Learner)).collect();
    for node in voters_outgoing {
        let stays = learners_next.contains(node);
        roles.insert(*node, if stays { MemberState::VoterBecomingLearner } else { MemberState::OutgoingVoter });
    }
    for node in voters {
        let both = !joint || voters_outgoing.contains(node);
        roles.insert(*node, if both { MemberState::Voter } else { MemberState::IncomingVoter });
    }
    roles
}

fn entry(change: MemberChange, request: u128) -> ConfChangeV2 {
    let kind = match change {
        MemberChange::AddLearner(_) | MemberChange::Demote(_) => ConfChangeType::AddLearnerNode,
        MemberChange::Promote(_) => ConfChangeType::AddNode,
        MemberChange::Remove(_) => ConfChangeType::RemoveNode,
    };
    let mut single = ConfChangeSingle::default();
    single.set_change_type(kind);
    single.node_id = change.node().0;
    let mut entry = ConfChangeV2::default();
    entry.set_changes(vec![single].into());
    entry.context = request.to_le_bytes().to_vec().into();
    entry
}

/// The membership behind an entry that changes it by one member; none for any other entry.
pub(crate) fn changed(before: &Membership, kind: EntryKind, data: &[u8]) -> Option<Membership> {
    if kind != EntryKind::MembersChange || !before.voters_outgoing.is_empty() {
        return None;
    }
    let change = ConfChangeV2::parse_from_bytes(data).ok()?;
    let [single] = change.get_changes() else { return None };
    let node = NodeId(single.node_id);
    let mut after = before.clone();
    after.voters.retain(|voter| *voter != node);
    after.learners.retain(|learner| *learner != node);
    match single.get_change_type() {
        ConfChangeType::AddNode => after.voters.push(node),
        ConfChangeType::AddLearnerNode => after.learners.push(node),
        ConfChangeType::RemoveNode => {}
    }
    after.voters.sort_unstable();
    after.learners.sort_unstable();
    Some(after)
}

/// The request id inside an applied change; none when no call waits for it.
pub(super) fn request(change: &ConfChangeV2) -> Option<u128> {
    change.get_context().try_into().ok().map(u128::from_le_bytes)
}

#[cfg(test)]
mod tests;
