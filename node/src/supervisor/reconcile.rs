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
//! | not ours, paused, faulted, deleted | no | none |
//!
//! Never starts a partition while an earlier run of it has not ended here (invariant OW-2).

use std::collections::BTreeMap;

use causeway_core::ids::{Epoch, Generation, NodeId, RuleVersion};
use causeway_core::partition::{Partition, PartitionId};
use causeway_core::state::State;
use causeway_core::stream::DesiredState;

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
    /// It should run, or should have ended, and something has to pass first: its end, or its rest.
    Wait(PartitionId),
}

/// One action for every partition that runs here or should.
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
        if running.runs.contains_key(id) {
            continue;
        }
        let Some(terms) = wanted(me, view, id, partition) else { continue };
        let rests = running.resting.get(id).is_some_and(|rest| still_rests(*rest, terms));
        actions.push(if rests { Action::Wait(id.clone()) } else { Action::Start(id.clone(), terms) });
    }
    actions
}

/// The terms on which this node should run a partition; none where it should not.
#[must_use]
pub fn wanted(me: NodeId, view: &State, id: &PartitionId, partition: &Partition) -> Option<Terms> {
    let stream = view.stream_by_id(id.stream)?;
    let source = view.instances.get(&stream.spec.source.instance)?;
    let target = view.instances.get(&stream.spec.target.instance)?;
    let runs = partition.owner == Some(me) && stream.desired == DesiredState::Running && partition.fault.is_none();
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

#[cfg(test)]
mod tests {
    use causeway_core::command::Command;
    use causeway_core::fault::{Fault, Resolution};
    use proptest::prelude::*;

    use super::*;
    use crate::supervisor::testing::{ME, OTHER, Replica};

    /// Carries actions out as the actor does; nothing ends by itself.
    fn carry_out(running: &mut Running, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Start(id, terms) => {
                    let before = running.runs.insert(id.clone(), Run { terms: *terms, stopping: false });
                    assert_eq!(before, None, "OW-2: started {id} while an earlier run had not ended");
                }
                Action::Stop(id) => running.runs.get_mut(id).unwrap().stopping = true,
                Action::Keep(_) | Action::Wait(_) => {}
            }
        }
    }

    fn end_what_stops(running: &mut Running) {
        running.runs.retain(|_, run| !run.stopping);
    }

    fn settled(me: NodeId, view: &State, running: &mut Running) {
        for _ in 0..2 {
            let actions = reconcile(me, view, running);
            carry_out(running, &actions);
            end_what_stops(running);
        }
    }

    #[test]
    fn a_new_epoch_stops_the_old_run_and_starts_only_after_its_end() {
        let mut replica = Replica::with_partitions(1);
        let id = replica.partition(0);
        let mut running = Running::default();
        settled(ME, &replica.state, &mut running);
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Keep(id.clone())]);

        replica.node_started(ME);
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Stop(id.clone())]);
        carry_out(&mut running, &[Action::Stop(id.clone())]);
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Wait(id.clone())]);
        end_what_stops(&mut running);
        assert!(
            matches!(&reconcile(ME, &replica.state, &running)[..], [Action::Start(_, terms)] if terms.epoch == Epoch(2))
        );
    }

    #[test]
    fn paused_faulted_deleted_and_foreign_partitions_are_stopped() {
        type Change = fn(&mut Replica, PartitionId);
        let changes: [(&str, Change); 4] = [
            ("paused", |replica, _| replica.pause()),
            ("deleted", |replica, _| replica.delete_stream()),
            ("moved", |replica, id| replica.assign(id, OTHER)),
            ("faulted", |replica, partition| {
                let fault = Fault::SourceGap { from: 1, to: 2 };
                replica.apply(Command::RaiseFault { partition, epoch: Epoch(1), fault });
            }),
        ];
        for (what, change) in changes {
            let mut replica = Replica::with_partitions(1);
            let id = replica.partition(0);
            let mut running = Running::default();
            settled(ME, &replica.state, &mut running);
            change(&mut replica, id.clone());
            assert_eq!(reconcile(ME, &replica.state, &running), [Action::Stop(id)], "{what}");
            settled(ME, &replica.state, &mut running);
            assert!(reconcile(ME, &replica.state, &running).is_empty(), "{what}");
        }
    }

    #[test]
    fn a_rest_ends_with_new_terms_and_outlasts_a_view_that_lags() {
        let mut replica = Replica::with_partitions(1);
        let id = replica.partition(0);
        let terms = wanted(ME, &replica.state, &id, &replica.state.partitions[&id]).unwrap();
        let mut running = Running::default();
        running.resting.insert(id.clone(), terms);
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Wait(id.clone())]);

        running.resting.insert(id.clone(), Terms { epoch: terms.epoch.next(), ..terms });
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Wait(id.clone())]);

        running.resting.insert(id.clone(), terms);
        replica.change_instance("qingdao");
        assert!(matches!(&reconcile(ME, &replica.state, &running)[..], [Action::Start(..)]));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Assign(usize, bool),
        Fault(usize),
        Resolve(usize),
        Pause,
        Resume,
        Restart,
        ChangeInstance,
        Reconcile,
        EndAll,
        Crash(usize),
        RestOver(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0_usize..6, any::<bool>()).prop_map(|(number, mine)| Event::Assign(number, mine)),
            (0_usize..6).prop_map(Event::Fault),
            (0_usize..6).prop_map(Event::Resolve),
            Just(Event::Pause),
            Just(Event::Resume),
            Just(Event::Restart),
            Just(Event::ChangeInstance),
            Just(Event::Reconcile),
            Just(Event::EndAll),
            (0_usize..6).prop_map(Event::Crash),
            (0_usize..6).prop_map(Event::RestOver),
        ]
    }

    fn happen(event: Event, replica: &mut Replica, running: &mut Running) {
        let epoch = |replica: &Replica, id: &PartitionId| replica.state.partitions[id].epoch;
        match event {
            Event::Assign(number, mine) => replica.assign(replica.partition(number), if mine { ME } else { OTHER }),
            Event::Fault(number) => {
                let partition = replica.partition(number);
                let command = Command::RaiseFault {
                    epoch: epoch(replica, &partition),
                    partition,
                    fault: Fault::SourceGap { from: 1, to: 2 },
                };
                replica.apply(command);
            }
            Event::Resolve(number) => {
                let partition = replica.partition(number);
                replica.apply(Command::ResolveFault { partition, resolution: Resolution::Retry });
            }
            Event::Pause => replica.pause(),
            Event::Resume => replica.resume(),
            Event::Restart => replica.node_started(ME),
            Event::ChangeInstance => replica.change_instance("hohhot"),
            Event::Reconcile => {
                let actions = reconcile(ME, &replica.state, running);
                carry_out(running, &actions);
            }
            Event::EndAll => end_what_stops(running),
            Event::Crash(number) => {
                if let Some(run) = running.runs.remove(&replica.partition(number)) {
                    running.resting.insert(replica.partition(number), run.terms);
                }
            }
            Event::RestOver(number) => {
                running.resting.remove(&replica.partition(number));
            }
        }
    }

    proptest! {
        /// OW-2 is asserted by `carry_out` at every step; after the last event two rounds reach what is agreed.
        #[test]
        fn converges_from_any_history(events in proptest::collection::vec(event(), 0..60)) {
            let mut replica = Replica::with_partitions(6);
            let mut running = Running::default();
            for event in events {
                happen(event, &mut replica, &mut running);
            }
            running.resting.clear();
            settled(ME, &replica.state, &mut running);
            let agreed: BTreeMap<_, _> = replica.state.partitions.iter()
                .filter_map(|(id, partition)| Some((id.clone(), wanted(ME, &replica.state, id, partition)?)))
                .collect();
            let runs: BTreeMap<_, _> = running.runs.iter().map(|(id, run)| (id.clone(), run.terms)).collect();
            prop_assert_eq!(&runs, &agreed);
            prop_assert!(reconcile(ME, &replica.state, &running).iter().all(|action| matches!(action, Action::Keep(_))));
        }
    }
}
