//! Which target queue takes the copies of which source queue.
//!
//! The rule, the same for every topic:
//! - source queues and target queues are each put in the order of (broker, queue number);
//! - source queues get ordinals 0, 1, 2 ... in that order when a stream is first discovered; queues that appear later
//!   go on counting behind all that are known, in the same order among themselves, so a known queue never moves;
//! - source ordinal `i` is copied into the target queue at place `i mod number of target queues`.
//!
//! With equal counts this is the identity: queue `i` to queue `i`. With fewer target queues several source queues share
//! one; with more some target queues stay empty. Either way all messages of one source queue are in one target queue,
//! in their order. A new target topic gets, on each target master, the source's queue count divided by the number of
//! masters and rounded up.
//!
//! Pure. Never changes the target of a partition that exists: it is fixed in the agreed state.

use std::collections::BTreeSet;

use causeway_core::command::NewPartition;
use causeway_core::partition::QueueId;

/// The partitions to add: one for each source queue that is not known, none where the target has no queue.
#[must_use]
pub fn map_new(known: &BTreeSet<QueueId>, source: &BTreeSet<QueueId>, target: &BTreeSet<QueueId>) -> Vec<NewPartition> {
    let places: Vec<&QueueId> = target.iter().collect();
    let new = source.iter().filter(|queue| !known.contains(*queue));
    new.enumerate()
        .filter_map(|(position, queue)| {
            let ordinal = known.len().checked_add(position)?;
            let place = places.get(ordinal.checked_rem(places.len())?)?;
            Some(NewPartition { source: queue.clone(), target: (*place).clone() })
        })
        .collect()
}

/// How many queues a new target topic gets on each of its masters; at least one.
#[must_use]
pub fn queues_per_master(source_queues: usize, target_masters: usize) -> u32 {
    let share = source_queues.div_ceil(target_masters.max(1)).max(1);
    u32::try_from(share).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn queues(brokers: &[(&str, u32)]) -> BTreeSet<QueueId> {
        let of = |(broker, count): &(&str, u32)| {
            let broker = (*broker).to_owned();
            (0..*count).map(move |queue| QueueId { broker: broker.clone(), queue })
        };
        brokers.iter().flat_map(of).collect()
    }

    fn pairs(new: &[NewPartition]) -> Vec<String> {
        new.iter().map(|partition| format!("{}>{}", partition.source, partition.target)).collect()
    }

    #[test]
    fn equal_counts_are_the_identity_also_across_brokers() {
        let none = BTreeSet::new();
        let same = map_new(&none, &queues(&[("a", 2), ("b", 2)]), &queues(&[("a", 2), ("b", 2)]));
        assert_eq!(pairs(&same), ["a/0>a/0", "a/1>a/1", "b/0>b/0", "b/1>b/1"]);
        let folded = map_new(&none, &queues(&[("a", 2), ("b", 2)]), &queues(&[("x", 4)]));
        assert_eq!(pairs(&folded), ["a/0>x/0", "a/1>x/1", "b/0>x/2", "b/1>x/3"]);
    }

    #[test]
    fn fewer_target_queues_are_shared_and_no_target_queue_maps_nothing() {
        let none = BTreeSet::new();
        let shared = map_new(&none, &queues(&[("a", 3)]), &queues(&[("x", 2)]));
        assert_eq!(pairs(&shared), ["a/0>x/0", "a/1>x/1", "a/2>x/0"]);
        assert!(map_new(&none, &queues(&[("a", 3)]), &none).is_empty());
    }

    #[test]
    fn new_queues_count_on_behind_the_known_ones() {
        let new = map_new(&queues(&[("b", 2)]), &queues(&[("a", 1), ("b", 3)]), &queues(&[("x", 4)]));
        assert_eq!(pairs(&new), ["a/0>x/2", "b/2>x/3"]);
    }

    #[test]
    fn a_new_topic_has_at_least_the_sources_queues() {
        assert_eq!(
            [(8, 1), (8, 2), (9, 2), (1, 3), (0, 0)].map(|(queues, masters)| queues_per_master(queues, masters)),
            [8, 4, 5, 1, 1]
        );
    }

    fn some_queues() -> impl Strategy<Value = BTreeSet<QueueId>> {
        let queue = (0_u8..4, 0_u32..12).prop_map(|(broker, queue)| QueueId { broker: format!("b{broker}"), queue });
        proptest::collection::btree_set(queue, 0..30)
    }

    proptest! {
        #[test]
        fn every_source_queue_has_exactly_one_target_queue_and_keeps_it(
            rounds in proptest::collection::vec(some_queues(), 1..6),
            target in some_queues(),
        ) {
            prop_assume!(!target.is_empty());
            let mut mapped: BTreeMap<QueueId, QueueId> = BTreeMap::new();
            let mut source = BTreeSet::new();
            for round in rounds {
                source.extend(round);
                let known = mapped.keys().cloned().collect();
                for partition in map_new(&known, &source, &target) {
                    prop_assert!(target.contains(&partition.target));
                    prop_assert_eq!(mapped.insert(partition.source, partition.target), None, "a known queue moved");
                }
                prop_assert_eq!(mapped.keys().cloned().collect::<BTreeSet<_>>(), source.clone());
            }
            // Spread evenly: no target queue takes two source queues more than another.
            let loads: Vec<usize> = target.iter().map(|queue| mapped.values().filter(|to| *to == queue).count()).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
        }
    }
}
