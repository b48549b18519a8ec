//! Decides which partitions this node must start, stop, keep or leave waiting.
//!
//! Pure: compares what Raft agreed with what runs here; the actor in `partition_supervisor.rs` carries the answer out.
//! Level-triggered: calling it twice is harmless, missing a call only delays.
//!
//! | agreed | runs here | action |
//! |---|---|---|
//! | ours, wanted, on these terms | on these terms | keep |
//! | anything else | yes | stop, then wait for its end |
//! | ours, wanted | no | start, or wait while it rests after a failure |
//! | ours, wanted, and we proposed to let go of it and do not know the outcome | no | renew the ownership |
//! | ours, wanted by another node, whether it should run or not | no | release, or wait for the answer |
//! | not ours, paused, faulted, deleted | no | none |
//!
//! Never starts a partition while an earlier run of it has not ended here (invariant OW-2), and never lets go of one
//! before that, nor starts it under an epoch that may be let go of (invariant OW-6).

use std::collections::BTreeMap;

use causeway_core::ids::{Epoch, Generation, NodeId, RuleVersion};
use causeway_core::partition::{Partition, PartitionId};
use causeway_core::state::State;
use causeway_core::stream::DesiredState;

use crate::supervisor::letting_go::{LettingGo, Stage};

/// Everything agreed that a run depends on. A run goes on only while its terms are the agreed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The ownership.
    pub epoch: Epoch,
    /// The stream's generation.
    pub generation: Generation,
    /// The stream's rules.
    pub rule_version: RuleVersion,
    /// The version of the source instance: another one may have other addresses or credentials.
    pub source_version: u64,
    /// The version of the target instance.
    pub target_version: u64,
}

/// A run of a partition on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// What it was started on.
    pub terms: Terms,
    /// It was asked to end and has not ended yet.
    pub stopping: bool,
}

/// What this node does now, as reconciling sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// Runs that have not ended.
    pub runs: BTreeMap<PartitionId, Run>,
    /// Partitions that rest after a failure, with the terms they rest on: new terms end the rest, because what an
    /// operator or another node changed may be what was wrong.
    pub resting: BTreeMap<PartitionId, Terms>,
    /// Partitions that are wanted elsewhere, or were.
    pub letting_go: LettingGo,
}

/// What to do about one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start it on these terms.
    Start(PartitionId, Terms),
    /// Ask it to end.
    Stop(PartitionId),
    /// It runs as it should.
    Keep(PartitionId),
    /// Let go of it: it does not run here, and another node shall run it.
    Release(PartitionId),
    /// Begin the next ownership of it: the present one may be let go of by an earlier proposal.
    Renew(PartitionId),
    /// It should run, should have ended, or should be another node's, and something has to pass first: its end, its
    /// rest, an answer.
    Wait(PartitionId),
}

/// One action for every partition that runs here or should, or is to be let go of.
#[must_use]
pub fn reconcile(me: NodeId, view: &State, running: &Running) -> Vec<Action> {
    let mut actions = Vec::new();
    for (id, run) in &running.runs {
        let agreed = view.partitions.get(id).and_then(|partition| wanted(me, view, id, partition));
        actions.push(match (agreed == Some(run.terms), run.stopping) {
            (_, true) => Action::Wait(id.clone()),
            (true, false) => Action::Keep(id.clone()),
            (false, false) => Action::Stop(id.clone()),
        });
    }
    for (id, partition) in &view.partitions {
        if running.runs.contains_key(id) || partition.owner != Some(me) {
            continue;
        }
        let terms = wanted(me, view, id, partition);
        let rests = |terms| running.resting.get(id).is_some_and(|rest| still_rests(*rest, terms));
        actions.push(match (terms, running.letting_go.stage(id, partition.epoch)) {
            (None, _) if partition.moving_to.is_none() => continue,
            (_, Stage::Waits) => Action::Wait(id.clone()),
            (None, _) => Action::Release(id.clone()),
            (Some(_), Stage::InDoubt) => Action::Renew(id.clone()),
            (Some(terms), Stage::Held) if rests(terms) => Action::Wait(id.clone()),
            (Some(terms), Stage::Held) => Action::Start(id.clone(), terms),
        });
    }
    actions
}

/// The terms on which this node should run a partition; none where it should not.
#[must_use]
pub fn wanted(me: NodeId, view: &State, id: &PartitionId, partition: &Partition) -> Option<Terms> {
    let stream = view.stream_by_id(id.stream)?;
    let source = view.instances.get(&stream.spec.source.instance)?;
    let target = view.instances.get(&stream.spec.target.instance)?;
    let is_ours = partition.owner == Some(me) && partition.moving_to.is_none();
    let runs = is_ours && stream.desired == DesiredState::Running && partition.fault.is_none();
    runs.then_some(Terms {
        epoch: partition.epoch,
        generation: partition.generation,
        rule_version: stream.rule_version,
        source_version: source.version,
        target_version: target.version,
    })
}

/// Whether a rest on these terms still holds under the agreed ones. A rest on a later epoch holds too: the view has
/// not caught up with a change that this node proposed itself.
#[must_use]
pub fn still_rests(rest: Terms, agreed: Terms) -> bool {
    rest == agreed || rest.epoch > agreed.epoch
}
