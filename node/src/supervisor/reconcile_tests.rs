//! What runs becomes what is agreed, whatever happened before; and nothing is given away while it runs.

use std::collections::BTreeMap;

use causeway_core::command::Command;
use causeway_core::fault::{Fault, Resolution};
use causeway_core::ids::{Epoch, NodeId};
use causeway_core::outcome::Outcome;
use causeway_core::partition::PartitionId;
use causeway_core::state::State;
use proptest::prelude::*;

use crate::supervisor::letting_go::Stage;
use crate::supervisor::reconcile::{Action, Run, Running, Terms, reconcile, wanted};
use crate::supervisor::testing::{ME, OTHER, Replica};

/// Carries actions out as the actor does; nothing ends by itself. Answers what it proposes.
fn carry_out(view: &State, running: &mut Running, actions: &[Action]) -> Vec<(PartitionId, Command)> {
    let mut proposals = Vec::new();
    for action in actions {
        match action {
            Action::Start(id, terms) => {
                assert_eq!(view.partitions[id].moving_to, None, "started {id}, which shall go elsewhere");
                let before = running.runs.insert(id.clone(), Run { terms: *terms, stopping: false });
                assert_eq!(before, None, "OW-2: started {id} while an earlier run had not ended");
            }
            Action::Stop(id) => running.runs.get_mut(id).unwrap().stopping = true,
            Action::Release(id) | Action::Renew(id) => {
                let epoch = view.partitions[id].epoch;
                let (partition, node) = (id.clone(), ME);
                let command = match action {
                    Action::Renew(_) => Command::Assign { partition, node, epoch: epoch.next() },
                    _ => Command::Release { partition, node, epoch, checkpoint: None, settled: true },
                };
                running.letting_go.proposed(id, epoch);
                proposals.push((id.clone(), command));
            }
            Action::Keep(_) | Action::Wait(_) => {}
        }
    }
    proposals
}

fn end_what_stops(running: &mut Running) {
    running.runs.retain(|_, run| !run.stopping);
}

fn settled(me: NodeId, view: &State, running: &mut Running) {
    for _ in 0..2 {
        let actions = reconcile(me, view, running);
        carry_out(view, running, &actions);
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
    carry_out(&replica.state, &mut running, &[Action::Stop(id.clone())]);
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

#[test]
fn a_partition_that_is_wanted_elsewhere_is_let_go_of_when_its_run_has_ended_also_where_none_should_run() {
    type Change = fn(&mut Replica);
    let changes: [(&str, Change); 4] = [
        ("it runs", |_| {}),
        ("paused", Replica::pause),
        ("faulted", |replica| {
            let (partition, fault) = (replica.partition(0), Fault::SourceGap { from: 1, to: 2 });
            replica.apply(Command::RaiseFault { partition, epoch: Epoch(1), fault });
        }),
        ("its process started anew", |replica| replica.node_started(ME)),
    ];
    for (what, change) in changes {
        let mut replica = Replica::with_partitions(1);
        let id = replica.partition(0);
        let mut running = Running::default();
        settled(ME, &replica.state, &mut running);
        replica.wish(id.clone(), OTHER);
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Stop(id.clone())], "{what}");
        carry_out(&replica.state, &mut running, &[Action::Stop(id.clone())]);
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Wait(id.clone())], "{what}");
        change(&mut replica);
        end_what_stops(&mut running);
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Release(id.clone())], "{what}");
        let proposals = carry_out(&replica.state, &mut running, &[Action::Release(id.clone())]);
        assert_eq!(reconcile(ME, &replica.state, &running), [Action::Wait(id.clone())], "{what}");
        replica.apply(proposals[0].1.clone());
        assert!(reconcile(ME, &replica.state, &running).is_empty(), "{what}");
        assert_eq!(replica.state.partitions[&id].owner, Some(OTHER), "{what}");
    }
}

#[test]
fn what_may_be_let_go_of_by_an_earlier_proposal_starts_only_under_the_next_epoch() {
    let mut replica = Replica::with_partitions(1);
    let id = replica.partition(0);
    let mut running = Running::default();
    replica.wish(id.clone(), OTHER);
    let late = carry_out(&replica.state, &mut running, &[Action::Release(id.clone())]);
    running.letting_go.may_be_agreed(&id, Epoch(1));
    running.letting_go.go_on(&id, Epoch(1));
    assert_eq!(running.letting_go.stage(&id, Epoch(1)), Stage::InDoubt);
    replica.wish(id.clone(), ME);
    assert_eq!(reconcile(ME, &replica.state, &running), [Action::Renew(id.clone())]);
    replica.pause();
    assert!(reconcile(ME, &replica.state, &running).is_empty(), "nothing should run");
    replica.resume();
    let renewal = carry_out(&replica.state, &mut running, &[Action::Renew(id.clone())]);
    replica.apply(renewal[0].1.clone());
    let [Action::Start(_, Terms { epoch: Epoch(2), .. })] = &reconcile(ME, &replica.state, &running)[..] else {
        panic!("it is ours under an epoch of its own");
    };
    replica.wish(id.clone(), OTHER);
    assert!(matches!(replica.apply(late[0].1.clone()), Outcome::Refused(_)), "it is too late");
}

/// What becomes of a proposal.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    /// Agreed on, and the answer does not come.
    AnswerLost,
    Lost,
    /// It arrives at any later time, after it was given up.
    Late,
}

#[derive(Debug, Clone)]
enum Event {
    Assign(usize, bool),
    Fault(usize),
    Resolve(usize),
    Wish(usize, bool),
    Pause,
    Resume,
    Restart,
    ChangeInstance,
    /// What was agreed so far becomes visible here.
    See,
    Reconcile,
    EndAll,
    Crash(usize),
    RestOver(usize),
    Proposed(Fate),
    Arrives(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let fate = prop_oneof![Just(Fate::Answered), Just(Fate::AnswerLost), Just(Fate::Lost), Just(Fate::Late)];
    prop_oneof![
        1 => (0_usize..4, any::<bool>()).prop_map(|(number, mine)| Event::Assign(number, mine)),
        1 => (0_usize..4).prop_map(Event::Fault),
        1 => (0_usize..4).prop_map(Event::Resolve),
        6 => (0_usize..4, any::<bool>()).prop_map(|(number, mine)| Event::Wish(number, mine)),
        1 => Just(Event::Pause),
        1 => Just(Event::Resume),
        1 => Just(Event::Restart),
        1 => Just(Event::ChangeInstance),
        4 => Just(Event::See),
        6 => Just(Event::Reconcile),
        3 => Just(Event::EndAll),
        1 => (0_usize..4).prop_map(Event::Crash),
        1 => (0_usize..4).prop_map(Event::RestOver),
        5 => fate.prop_map(Event::Proposed),
        2 => (0_usize..8).prop_map(Event::Arrives),
    ]
}

struct World {
    replica: Replica,
    /// What this node knows of it.
    seen: State,
    running: Running,
    proposals: Vec<(PartitionId, Command)>,
    late: Vec<(PartitionId, Command)>,
}

impl World {
    fn new() -> Self {
        let replica = Replica::with_partitions(4);
        let seen = replica.state.clone();
        Self { replica, seen, running: Running::default(), proposals: Vec::new(), late: Vec::new() }
    }

    /// Says whether it is agreed on.
    fn agree(&mut self, id: &PartitionId, command: Command) -> bool {
        let outcome = self.replica.apply(command);
        let is_agreed = !matches!(outcome, Outcome::Refused(_));
        assert!(!is_agreed || !self.running.runs.contains_key(id), "OW-6: {id} was let go of while it ran");
        is_agreed
    }

    fn answer(&mut self, fate: Fate) {
        if self.proposals.is_empty() {
            return;
        }
        let (id, command) = self.proposals.remove(0);
        let epoch = match &command {
            Command::Assign { epoch, .. } => Epoch(epoch.0 - 1),
            Command::Release { epoch, .. } => *epoch,
            other => panic!("{other:?}"),
        };
        let in_doubt = match fate {
            Fate::Answered => self.agree(&id, command),
            Fate::AnswerLost => {
                self.agree(&id, command);
                true
            }
            Fate::Lost => true,
            Fate::Late => {
                self.late.push((id.clone(), command));
                true
            }
        };
        if in_doubt {
            self.running.letting_go.may_be_agreed(&id, epoch);
        }
        self.running.letting_go.go_on(&id, epoch);
    }

    fn reconcile(&mut self) {
        self.running.letting_go.keep_current(ME, &self.seen);
        let actions = reconcile(ME, &self.seen, &self.running);
        self.proposals.extend(carry_out(&self.seen, &mut self.running, &actions));
    }

    fn happen(&mut self, event: Event) {
        let Self { replica, running, .. } = self;
        match event {
            Event::Assign(number, mine) => replica.assign(replica.partition(number), if mine { ME } else { OTHER }),
            Event::Fault(number) => {
                let (partition, fault) = (replica.partition(number), Fault::SourceGap { from: 1, to: 2 });
                let epoch = replica.state.partitions[&partition].epoch;
                replica.apply(Command::RaiseFault { epoch, partition, fault });
            }
            Event::Resolve(number) => {
                let partition = replica.partition(number);
                replica.apply(Command::ResolveFault { partition, resolution: Resolution::Retry });
            }
            Event::Wish(number, mine) => replica.wish(replica.partition(number), if mine { ME } else { OTHER }),
            Event::Pause => replica.pause(),
            Event::Resume => replica.resume(),
            Event::Restart => replica.node_started(ME),
            Event::ChangeInstance => replica.change_instance("hohhot"),
            Event::See => self.seen = replica.state.clone(),
            Event::Reconcile => self.reconcile(),
            Event::EndAll => end_what_stops(running),
            Event::Crash(number) => {
                if let Some(run) = running.runs.remove(&replica.partition(number)) {
                    running.resting.insert(replica.partition(number), run.terms);
                }
            }
            Event::RestOver(number) => {
                running.resting.remove(&replica.partition(number));
            }
            Event::Proposed(fate) => self.answer(fate),
            Event::Arrives(number) => {
                if let Some(place) = number.checked_rem(self.late.len()) {
                    let (id, command) = self.late.remove(place);
                    self.agree(&id, command);
                }
            }
        }
    }

    /// Nothing goes wrong any more.
    fn calm(&mut self) {
        self.running.resting.clear();
        for _ in 0..4 {
            while !self.proposals.is_empty() {
                self.answer(Fate::Answered);
            }
            self.seen = self.replica.state.clone();
            self.reconcile();
            end_what_stops(&mut self.running);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// OW-2 and OW-6 are asserted at every step; after the last event a few rounds reach what is agreed.
    #[test]
    fn converges_from_any_history(events in proptest::collection::vec(event(), 0..80)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.calm();
        let state = &world.replica.state;
        let agreed: BTreeMap<_, _> = state.partitions.iter()
            .filter_map(|(id, partition)| Some((id.clone(), wanted(ME, state, id, partition)?)))
            .collect();
        let runs: BTreeMap<_, _> = world.running.runs.iter().map(|(id, run)| (id.clone(), run.terms)).collect();
        prop_assert_eq!(&runs, &agreed);
        let mut mine = state.partitions.values().filter(|partition| partition.owner == Some(ME));
        prop_assert!(mine.all(|partition| partition.moving_to.is_none()), "something was not let go of");
        let actions = reconcile(ME, state, &world.running);
        prop_assert!(actions.iter().all(|action| matches!(action, Action::Keep(_))), "{:?}", actions);
        // Whatever arrives now is too late.
        for id in runs.keys() {
            world.replica.wish(id.clone(), OTHER);
        }
        for (id, command) in std::mem::take(&mut world.late) {
            world.agree(&id, command);
        }
    }
}
