//! What a node does by itself, again and again: it asks for its lease, says that it started, lets go of what is to
//! move; and as the leader it gives out partitions and has the members follow what is wanted.

use std::collections::BTreeSet;

use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::node::{MemberRole, NodeSpec};
use causeway_core::partition::{Assignment, PartitionId};
use causeway_core::plan::{Limits, Members, next_member_change, plan};
use causeway_core::state::State;

use super::clients::{NODES, name};
use super::node::{Awaited, Life};
use super::world::{Happening, World};
use super::{Defect, Violation};
use crate::raft::membership::MemberChange;
use crate::status::MemberStatus;

impl World {
    /// One round of a node's duties.
    pub(super) fn duties(&mut self, id: NodeId) -> Result<(), Violation> {
        self.ask_for_lease(id)?;
        let Some((life, _)) = self.life(id) else { return Ok(()) };
        let (view, process, leads) = (life.replica.state(), life.process(), life.status.ready);
        let start = Command::StartNode { node: id, spec: spec(id), process };
        match view.nodes.get(&id).map(|node| node.process) {
            Some(latest) if latest == process => {}
            Some(_) => self.propose(id, start),
            None => self.introduce(id, start),
        }
        // Residents let go of partitions themselves.
        let to_let_go = if self.setup.has_residents { Vec::new() } else { to_let_go(&view, id) };
        for (partition, Assignment { epoch, .. }) in to_let_go {
            if let Some(life) = self.life_mut(id) {
                life.holder.let_go(&partition, epoch);
            }
            self.propose(id, Command::Release { partition, node: id, epoch, checkpoint: None, settled: true });
        }
        // A wish that was taken back: the old word may still be agreed on, so the owner goes on under a new epoch only.
        for (partition, epoch) in self.life(id).map(|(life, _)| life.holder.stuck(id, &view)).unwrap_or_default() {
            self.propose(id, Command::Assign { partition, node: id, epoch: epoch.next() });
        }
        // Before that it is not known yet who belongs to the cluster.
        if leads && is_set_up(&view) {
            self.give_out(id, &view);
            self.follow_wishes(id, &view);
        }
        Ok(())
    }

    /// A node that nobody sends anything to yet has whoever it reaches pass its start on to the leader.
    fn introduce(&mut self, id: NodeId, start: Command) {
        let others: Vec<NodeId> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        let through = self.random.pick(&others).and_then(|other| self.life(other));
        if let Some(leader) = through.and_then(|(life, _)| life.status.leader)
            && self.history.state().nodes.contains_key(&id)
        {
            self.post(id, leader, Happening::Asked(Box::new(start), None));
        }
    }

    /// Proposes what the planner says. A node that loses something gets no lease before it is known what came of that.
    fn give_out(&mut self, id: NodeId, view: &State) {
        let Some((life, _)) = self.life(id).filter(|(life, _)| !takes(life)) else { return };
        let term = life.status.term;
        let commands = plan(view, &life.leadership.conditions(term, view), Limits::default());
        let loser = |command: &Command| match command {
            Command::Assign { partition, node, .. } => {
                view.partitions.get(partition).and_then(|partition| partition.owner).filter(|owner| owner != node)
            }
            _ => None,
        };
        let losers: BTreeSet<NodeId> = commands.iter().filter_map(loser).collect();
        if self.setup.defect != Some(Defect::LeaseWhileTaking) {
            life.leadership.begin_taking(term, losers.iter().copied());
        }
        self.wake(&losers);
        for command in commands {
            let taking = loser(&command).is_some();
            self.stats.takeovers += u64::from(taking);
            self.propose_here(id, command, Some(term), taking, None);
        }
    }

    /// What was being taken from nodes has been taken, or never will be.
    pub(super) fn end_taking(&mut self, id: NodeId) {
        let Some((life, _)) = self.life(id).filter(|(life, _)| life.status.ready && !takes(life)) else { return };
        life.leadership.end_taking(life.status.term);
    }

    /// One step towards the members that the state asks for.
    fn follow_wishes(&mut self, id: NodeId, view: &State) {
        let Some((life, _)) = self.life(id) else { return };
        let members = members(life);
        if let Some(change) = next_member_change(view, &members) {
            self.change(id, change);
        } else if wanted(view, id) != Some(MemberRole::Voter)
            && let Some(heir) = members.voters.iter().find(|voter| wanted(view, **voter) == Some(MemberRole::Voter))
        {
            self.hand_over(id, *heir);
        }
    }

    /// Whether the members are those that the state asks for.
    pub(super) fn members_are_as_wanted(&self) -> bool {
        let (view, membership) = (self.history.state(), self.history.membership());
        let of = |role| view.nodes.iter().filter(move |(_, node)| node.role == role).map(|(id, _)| *id);
        of(MemberRole::Voter).eq(membership.voters) && of(MemberRole::Learner).eq(membership.learners)
    }
}

/// Something is being taken from a node.
fn takes(life: &Life) -> bool {
    life.waiting.iter().any(|(_, awaited)| matches!(awaited, Awaited::Outcome { taking: true, .. }))
}

fn to_let_go(view: &State, me: NodeId) -> Vec<(PartitionId, Assignment)> {
    let moving = view.partitions.iter().filter(|(_, partition)| partition.moving_to.is_some());
    let owned = moving.filter_map(|(id, partition)| Some((id.clone(), partition.assignment()?)));
    owned.filter(|(_, assignment)| assignment.node == me).collect()
}

/// Whether every node was admitted that shall be, and there is something to do for them.
pub(super) fn is_set_up(view: &State) -> bool {
    view.highest_node.0 >= NODES && !view.partitions.is_empty()
}

fn wanted(view: &State, node: NodeId) -> Option<MemberRole> {
    view.nodes.get(&node).map(|node| node.role)
}

pub(super) fn spec(id: NodeId) -> NodeSpec {
    NodeSpec {
        name: name(&format!("node-{id}")),
        region: name("qingdao"),
        address: Some(format!("node-{id}:1")),
        supports: causeway_core::command::CURRENT_VERSION,
    }
}

fn members(life: &Life) -> Members {
    let (voters, learners): (Vec<&MemberStatus>, Vec<&MemberStatus>) =
        life.status.members.iter().partition(|member| member.is_voter());
    let near = |matched: u64| life.status.last_index.saturating_sub(matched) < 64;
    let caught_up = learners.iter().filter(|member| member.progress.is_some_and(|at| at.active && near(at.matched)));
    Members {
        caught_up: caught_up.map(|member| member.node).collect(),
        voters: voters.iter().map(|member| member.node).collect(),
        learners: learners.iter().map(|member| member.node).collect(),
        // What is refused is asked for again with the next round.
        changing: false,
        leader: life.status.leader.unwrap_or_default(),
    }
}

/// A change that somebody asks for who knows nothing.
pub(super) fn any_change(node: NodeId, kind: u64) -> MemberChange {
    match kind {
        0 => MemberChange::AddLearner(node),
        1 => MemberChange::Promote(node),
        2 => MemberChange::Demote(node),
        _ => MemberChange::Remove(node),
    }
}
