//! Decides which node runs which partition. Pure: compares what exists with who is there.
//!
//! Wanted properties, tested below:
//! - P1 every partition of a live cluster gets exactly one owner, and it is a live node;
//! - P2 a partition whose owner lives is left where it is (sticky);
//! - P3 new partitions go to the nodes that run the fewest;
//! - P4 planning again after applying a plan proposes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::Command;
use crate::ids::NodeId;
use crate::state::State;

/// How many assignments one plan may propose; the next plan goes on with the rest.
pub const MAXIMUM_MOVES: usize = 256;

/// The assignments to propose so that every partition has a live owner.
#[must_use]
pub fn plan(view: &State, live: &BTreeSet<NodeId>) -> Vec<Command> {
    let mut load: BTreeMap<NodeId, usize> = live.iter().map(|node| (*node, 0)).collect();
    for owner in view.partitions.values().filter_map(|partition| partition.owner) {
        if let Some(count) = load.get_mut(&owner) {
            *count += 1;
        }
    }
    let mut commands = Vec::new();
    let homeless =
        view.partitions.iter().filter(|(_, partition)| partition.owner.is_none_or(|owner| !live.contains(&owner)));
    for (id, partition) in homeless.take(MAXIMUM_MOVES) {
        let Some((node, count)) = load.iter_mut().min_by_key(|(node, count)| (**count, **node)) else {
            break;
        };
        *count += 1;
        commands.push(Command::Assign { partition: id.clone(), node: *node, epoch: partition.epoch.next() });
    }
    commands
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::{CURRENT_VERSION, Envelope, NewPartition};
    use crate::ids::{Epoch, StreamId, Timestamp};
    use crate::partition::{Partition, PartitionId, QueueId};
    use crate::stream::StartPosition;

    fn state(owners: &[Option<u64>]) -> State {
        let mut state = State::default();
        for (number, owner) in owners.iter().enumerate() {
            let queue = QueueId { broker: "b".into(), queue: u32::try_from(number).unwrap() };
            let new = NewPartition { source: queue.clone(), target: queue };
            let partition = Partition {
                generation: crate::ids::Generation(0),
                target: new.target,
                start: StartPosition::Earliest,
                source_incarnation: crate::ids::Incarnation(0),
                target_incarnation: crate::ids::Incarnation(0),
                epoch: Epoch(u64::from(owner.is_some())),
                owner: owner.map(NodeId),
                checkpoint: None,
                fault: None,
                resolved: Vec::new(),
                rewinds: 0,
            };
            state.partitions.insert(PartitionId { stream: StreamId(1), source: new.source }, partition);
        }
        state
    }

    proptest! {
        #[test]
        fn keeps_p1_to_p4(
            owners in proptest::collection::vec(proptest::option::of(0_u64..5), 0..60),
            live in proptest::collection::btree_set(0_u64..5, 1..5),
        ) {
            let live: BTreeSet<NodeId> = live.into_iter().map(NodeId).collect();
            let before = state(&owners);
            let mut after = before.clone();
            for command in plan(&before, &live) {
                let envelope = Envelope { version: CURRENT_VERSION, request: 0, at: Timestamp(0), command };
                prop_assert!(!matches!(after.apply(1, &envelope), crate::outcome::Outcome::Refused(_)));
            }
            for (id, partition) in &after.partitions {
                let owner = partition.owner.unwrap();
                prop_assert!(live.contains(&owner), "P1");
                let old = before.partitions[id].owner;
                if old.is_some_and(|old| live.contains(&old)) {
                    prop_assert_eq!(old, Some(owner), "P2");
                }
            }
            prop_assert!(plan(&after, &live).is_empty(), "P4");
            if owners.iter().all(Option::is_none) {
                let count = |node: NodeId| after.partitions.values().filter(|p| p.owner == Some(node)).count();
                let counts: Vec<_> = live.iter().map(|node| count(*node)).collect();
                prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "P3");
            }
        }
    }
}
