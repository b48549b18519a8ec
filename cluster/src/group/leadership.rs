//! What this node knows as the leader of one term, and forgets with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use causeway_core::ids::NodeId;
use causeway_core::node::ProcessId;
use causeway_core::partition::PartitionId;
use causeway_core::plan::{self, Conditions};
use causeway_core::state::State;

use crate::clock::BootClock;
use crate::liveness::{Answer, LeaseTerms, Liveness, Signs};

/// Knowledge of the present term.
pub(crate) struct Leadership {
    terms: LeaseTerms,
    clock: BootClock,
    term: Mutex<Option<Term>>,
}

struct Term {
    number: u64,
    liveness: Liveness,
    loads: BTreeMap<NodeId, Vec<(PartitionId, u64)>>,
    /// How often they changed.
    loads_changed: u64,
}

impl Term {
    fn nodes(&self, view: &State, now: u64) -> BTreeMap<NodeId, plan::Liveness> {
        let owners = view.partitions.values().filter_map(|partition| partition.owner);
        let mut nodes = BTreeMap::new();
        for node in view.nodes.keys().copied().chain(owners) {
            nodes.entry(node).or_insert_with(|| self.liveness.of(node, now));
        }
        nodes
    }
}

impl Leadership {
    pub(crate) fn new(terms: LeaseTerms, clock: BootClock) -> Self {
        Self { terms, clock, term: Mutex::default() }
    }

    pub(crate) fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// A node asked for a lease, and a majority confirmed since then that this node leads this term.
    pub(crate) fn ask(&self, term: u64, node: NodeId, process: ProcessId, applied: u64) -> Answer {
        let now = self.clock.now().as_nanos();
        self.with(term, |known| known.liveness.ask(node, process, applied, now))
    }

    pub(crate) fn give_back(&self, term: u64, node: NodeId, process: ProcessId) {
        let now = self.clock.now().as_nanos();
        self.with(term, |known| known.liveness.give_back(node, process, now));
    }

    pub(crate) fn loads(&self, term: u64, node: NodeId, loads: Vec<(PartitionId, u64)>) {
        self.with(term, |known| {
            if known.loads.get(&node) != Some(&loads) {
                known.loads.insert(node, loads);
                known.loads_changed = known.loads_changed.saturating_add(1);
            }
        });
    }

    /// What may be assumed of the nodes, and whether the loads are those of before.
    pub(crate) fn signs(&self, term: u64, view: &State) -> Signs {
        let now = self.clock.now().as_nanos();
        self.with(term, |known| Signs { nodes: known.nodes(view, now), loads: known.loads_changed })
    }

    /// What people are shown of the nodes; those of which nothing is known yet are left out.
    pub(crate) fn shown(&self, term: u64, view: &State) -> BTreeMap<NodeId, plan::Liveness> {
        let now = self.clock.now().as_nanos();
        let nodes = view.nodes.keys().copied();
        self.with(term, |known| nodes.filter_map(|node| Some((node, known.liveness.shown(node, now)?))).collect())
    }

    /// What may be assumed of the nodes and of whoever else owns something. Copies the loads of all partitions.
    pub(crate) fn conditions(&self, term: u64, view: &State) -> Conditions {
        let now = self.clock.now().as_nanos();
        self.with(term, |known| {
            let loads = known.loads.iter().flat_map(|(node, loads)| loads.iter().map(move |load| (node, load)));
            let of_owner = loads.filter(|(node, (id, _))| {
                view.partitions.get(id).is_some_and(|partition| partition.owner == Some(**node))
            });
            Conditions {
                nodes: known.nodes(view, now),
                bytes_per_second: of_owner.map(|(_, load)| load.clone()).collect(),
            }
        })
    }

    /// From now on it is being agreed that these nodes lose partitions.
    pub(crate) fn begin_taking(&self, term: u64, nodes: impl IntoIterator<Item = NodeId>) {
        self.with(term, |known| known.liveness.begin_taking(nodes));
    }

    /// Everything that was proposed in this term is applied or never will be.
    pub(crate) fn end_taking(&self, term: u64) {
        self.with(term, |known| known.liveness.end_taking());
    }

    /// Knowledge of an earlier term is worth nothing: it begins anew, as if this node had been elected now. Whoever
    /// comes with an earlier term comes too late, and must not make the present one forget what is being taken.
    fn with<T>(&self, number: u64, look: impl FnOnce(&mut Term) -> T) -> T {
        let mut term = self.lock();
        let now = self.clock.now().as_nanos();
        let liveness = || Liveness::new(self.terms, now);
        let fresh = || Term { number, liveness: liveness(), loads: BTreeMap::new(), loads_changed: 0 };
        match term.as_mut() {
            Some(known) if known.number == number => look(known),
            Some(known) if known.number > number => look(&mut fresh()),
            _ => look(term.insert(fresh())),
        }
    }

    /// A poisoned lock guards knowledge that is at worst older than it could be.
    fn lock(&self) -> MutexGuard<'_, Option<Term>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::StreamId;
    use causeway_core::partition::QueueId;

    use super::*;

    #[test]
    fn a_call_of_an_earlier_term_changes_nothing_that_is_known() {
        let leadership = Leadership::new(LeaseTerms::default(), BootClock::system());
        let (node, process) = (NodeId(2), ProcessId(1));
        leadership.begin_taking(5, [node]);
        // It was confirmed before, and this thread has slept since then.
        leadership.ask(3, node, process, 7);
        leadership.end_taking(3);
        assert_eq!(leadership.ask(5, node, process, 9), Answer::NotNow);
        assert!(matches!(leadership.ask(6, node, process, 9), Answer::Granted { applied_at_least: 9 }));
    }

    #[test]
    fn signs_change_with_the_loads_and_not_when_the_same_are_told_again() {
        let leadership = Leadership::new(LeaseTerms::default(), BootClock::system());
        let (view, node) = (State::default(), NodeId(2));
        let source = QueueId { broker: "b".to_owned(), queue: 0 };
        let told = |load| vec![(PartitionId { stream: StreamId(1), source: source.clone() }, load)];
        let mut seen = vec![leadership.signs(5, &view)];
        for load in [7, 7, 8] {
            leadership.loads(5, node, told(load));
            seen.push(leadership.signs(5, &view));
        }
        assert!(seen[0] != seen[1] && seen[1] == seen[2] && seen[2] != seen[3], "{seen:?}");
    }
}
