//! Who may write: how a node asks for its lease and holds it, and the judge of all who may write (S8).
//!
//! A node holds its lease as `Group::lease` and the node's keeper do, and a leader answers as the handler of questions
//! does: the moments at which they act are the simulation's.

use std::collections::{BTreeMap, BTreeSet};

use causeway_core::ids::{Epoch, NodeId};
use causeway_core::node::ProcessId;
use causeway_core::partition::PartitionId;
use causeway_core::state::State;

use super::node::{Awaited, Call};
use super::world::{Happening, World};
use super::{Defect, Violation};
use crate::liveness::{Answer, LeaseTerms};
use crate::raft::reads::Read;

/// A node asks for a lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) from: NodeId,
    process: ProcessId,
    life: u64,
    /// By the clock of who asks.
    asked: u64,
}

/// What a leader answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    asked: u64,
    applied_at_least: u64,
}

/// One ownership that a node writes under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    epoch: Epoch,
    tenure: u64,
}

/// A node's lease, and what it writes under it.
#[derive(Debug, Default)]
pub(super) struct Holder {
    /// By the node's own clock.
    until: u64,
    /// How often the lease has begun.
    tenure: u64,
    /// A lease behind a break waits until what was agreed before is applied.
    behind_a_break: Option<(u64, u64)>,
    runs: BTreeMap<PartitionId, Run>,
    /// Ownerships that were let go: they are never begun again.
    let_go: BTreeSet<(PartitionId, Epoch)>,
    /// Whether it may write something, or for longer, that it might not when that was judged last.
    grew: bool,
}

impl Holder {
    fn granted(&mut self, until: u64, applied_at_least: u64, now: u64) {
        if until <= self.until.max(now) {
            return;
        }
        if self.until > now {
            (self.until, self.grew) = (until, true);
        } else {
            self.behind_a_break = Some((until, applied_at_least));
        }
    }

    /// Until when it may write, by the node's own clock.
    pub(super) fn until(&self) -> u64 {
        self.until
    }

    /// A lease behind a break begins when everything is applied that it waits for.
    fn catch_up(&mut self, applied: u64, now: u64) {
        if let Some((until, _)) = self.behind_a_break.take_if(|(_, at_least)| *at_least <= applied)
            && until > now
        {
            (self.until, self.tenure, self.grew) = (until, self.tenure + 1, true);
        }
    }

    /// Begins and ends runs as the view and the lease ask for.
    fn reconcile(&mut self, me: NodeId, process: ProcessId, view: &State, now: u64) {
        let valid = self.until > now;
        let own = view.nodes.get(&me).is_some_and(|node| node.process == process);
        let mine = |id: &PartitionId| {
            let assignment = view.partitions.get(id).and_then(|partition| partition.assignment());
            assignment.filter(|assignment| own && assignment.node == me).map(|assignment| assignment.epoch)
        };
        let tenure = self.tenure;
        self.runs.retain(|id, run| valid && run.tenure == tenure && mine(id) == Some(run.epoch));
        for id in view.partitions.keys().filter(|_| valid) {
            if let Some(epoch) = mine(id).filter(|epoch| !self.let_go.contains(&(id.clone(), *epoch))) {
                self.grew |= self.runs.insert(id.clone(), Run { epoch, tenure }) != Some(Run { epoch, tenure });
            }
        }
    }

    /// Ends a run for good, because another node is to have its partition.
    pub(super) fn let_go(&mut self, id: &PartitionId, epoch: Epoch) {
        self.runs.remove(id);
        self.let_go.insert((id.clone(), epoch));
    }

    /// What it let go of and nobody wants elsewhere any more.
    pub(super) fn stuck(&self, me: NodeId, view: &State) -> Vec<(PartitionId, Epoch)> {
        let stays = view.partitions.iter().filter(|(_, is)| is.owner == Some(me) && is.moving_to.is_none());
        let ownerships = stays.map(|(id, is)| (id.clone(), is.epoch));
        ownerships.filter(|ownership| self.let_go.contains(ownership)).collect()
    }

    /// What it may write at this moment. That the process is stopped changes nothing: it may go on at any time.
    fn may_write(&self, now: u64) -> impl Iterator<Item = (&PartitionId, Epoch)> {
        let valid = self.until > now;
        self.runs.iter().filter(move |(_, run)| valid && run.tenure == self.tenure).map(|(id, run)| (id, run.epoch))
    }
}

/// Judges who may write.
#[derive(Debug, Default)]
pub(super) struct Writers {
    /// The newest ownership that anybody wrote under.
    newest: BTreeMap<PartitionId, (Epoch, NodeId)>,
    /// How often another node than before began to write.
    pub(super) changes: u64,
}

impl Writers {
    fn judge(&mut self, node: NodeId, id: &PartitionId, epoch: Epoch) -> Result<(), Violation> {
        let newest = self.newest.get(id).copied();
        if newest.is_none_or(|newest| newest.0 < epoch) {
            self.changes += u64::from(newest.is_some_and(|newest| newest.1 != node));
            self.newest.insert(id.clone(), (epoch, node));
            return Ok(());
        }
        if newest == Some((epoch, node)) {
            return Ok(());
        }
        let detail = format!("node {node} may write {id} under epoch {}, after {newest:?}", epoch.0);
        Err(Violation::new("S8", detail))
    }
}

impl World {
    /// A node asks whoever leads as far as it knows.
    pub(super) fn ask_for_lease(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some((life, now)) = self.life(id) else { return Ok(()) };
        let question = Question { from: id, process: life.process(), life: life.number, asked: now };
        match life.status.leader {
            Some(leader) if leader == id => self.lease_asked(id, question),
            Some(leader) => {
                self.post(id, leader, Happening::LeaseAsked(question));
                self.pause_behind_a_question(id);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A leader has its leadership confirmed behind the arrival of the question.
    pub(super) fn lease_asked(&mut self, id: NodeId, question: Question) -> Result<(), Violation> {
        let Some((life, _)) = self.life(id).filter(|(life, _)| life.status.ready) else { return Ok(()) };
        let (term, applied) = (life.status.term, life.status.applied);
        if self.setup.defect == Some(Defect::UnconfirmedLease) {
            return self.grant(id, question, term, applied);
        }
        let (request, floor) = (self.request(), self.history.answered());
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.wait(id, Awaited::Read { floor, answer, lease: Some((question, term)) });
        self.arrive(id, Call::Read(Read { request, reply }));
        Ok(())
    }

    /// A majority has confirmed, behind the arrival of the question, that this node leads.
    pub(super) fn grant(&mut self, id: NodeId, to: Question, term: u64, confirmed: u64) -> Result<(), Violation> {
        let Some((life, _)) = self.life(id) else { return Ok(()) };
        let still = life.status.ready && life.status.term == term;
        let latest = life.replica.state().nodes.get(&to.from).map(|node| node.process);
        if !still || latest != Some(to.process) {
            return Ok(());
        }
        let applied_at_least = confirmed.max(life.status.applied);
        let Answer::Granted { applied_at_least } = life.leadership.ask(term, to.from, to.process, applied_at_least)
        else {
            self.stats.leases_refused += 1;
            return Ok(());
        };
        self.stats.leases += 1;
        let granted = Granted { asked: to.asked, applied_at_least };
        if to.from == id { self.hold(id, to.life, granted) } else { self.post_lease(id, to.from, to.life, granted) }
    }

    fn post_lease(&mut self, id: NodeId, to: NodeId, life: u64, granted: Granted) -> Result<(), Violation> {
        self.post(id, to, Happening::LeaseGranted(life, granted));
        Ok(())
    }

    /// A node says to whoever leads that it writes nothing any more.
    pub(super) fn give_back(&mut self, id: NodeId) {
        let Some((life, _)) = self.life(id) else { return };
        if let Some(leader) = life.status.leader.filter(|leader| *leader != id) {
            let process = life.process();
            self.post(id, leader, Happening::LeaseGivenBack(id, process));
        }
    }

    pub(super) fn lease_given_back(&mut self, id: NodeId, node: NodeId, process: ProcessId) {
        if let Some((life, _)) = self.life(id).filter(|(life, _)| life.status.ready) {
            life.leadership.give_back(life.status.term, node, process);
        }
    }

    /// A lease reached the process that asked for it.
    pub(super) fn hold(&mut self, id: NodeId, number: u64, granted: Granted) -> Result<(), Violation> {
        let defect = self.setup.defect;
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let now = node.clock.now();
        let Some(life) = node.life.as_mut().filter(|life| life.number == number) else { return Ok(()) };
        let from = if defect == Some(Defect::LeaseFromArrival) { now } else { granted.asked };
        let length = u64::try_from(LeaseTerms::default().length.as_nanos()).unwrap();
        let catches_up = defect != Some(Defect::LeaseWithoutCatchingUp);
        life.holder.granted(from + length, if catches_up { granted.applied_at_least } else { 0 }, now);
        self.reconcile(id);
        self.tell_residents(id);
        self.judge_writers()
    }

    /// The runs of a node follow its view and its lease.
    pub(super) fn reconcile(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let now = node.clock.now();
        let Some(life) = node.life.as_mut() else { return };
        let (process, view, applied) = (life.process(), life.replica.state(), life.status.applied);
        life.holder.catch_up(applied, now);
        // Residents run partitions themselves, and the judge is what arrives at their targets.
        if !self.setup.has_residents {
            life.holder.reconcile(id, process, &view, now);
        }
    }

    /// Looks at everybody who may write now, if somebody may who might not before: that time passes lets nobody write.
    pub(super) fn judge_writers(&mut self) -> Result<(), Violation> {
        let lives = self.nodes.values_mut().filter_map(|node| node.life.as_mut());
        if !lives.fold(false, |grew, life| std::mem::take(&mut life.holder.grew) | grew) {
            return Ok(());
        }
        let lives = self.nodes.values().filter_map(|node| Some((node, node.life.as_ref()?)));
        // From the oldest ownership to the newest, so that who took over last is not to blame.
        let mut able: Vec<(Epoch, &PartitionId, NodeId)> = lives
            .flat_map(|(node, life)| life.holder.may_write(node.clock.now()).map(|(id, epoch)| (epoch, id, node.id)))
            .collect();
        able.sort_unstable();
        for pair in able.iter().enumerate() {
            let (place, (epoch, id, node)) = pair;
            if let Some((other, _, twin)) = able.iter().skip(place + 1).find(|(_, other, _)| other == id) {
                let detail =
                    format!("nodes {node} and {twin} may both write {id}, under epochs {} and {}", epoch.0, other.0);
                return Err(Violation::new("S8", detail));
            }
            self.writers.judge(*node, id, *epoch)?;
        }
        Ok(())
    }

    /// Whether somebody writes each partition.
    pub(super) fn every_partition_is_written(&self, view: &State) -> bool {
        let lives = self.nodes.values().filter_map(|node| Some((node.life.as_ref()?, node.clock.now())));
        let written: BTreeSet<_> =
            lives.flat_map(|(life, now)| life.holder.may_write(now).map(|(partition, _)| partition)).collect();
        view.partitions.keys().all(|partition| written.contains(partition))
    }
}
