//! Which nodes relay a partition's source to its owner. Pure.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use causeway_core::partition::PartitionId;

/// A node, as its owner knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub node: NodeId,
    /// Its region.
    pub region: Name,
    /// Whether its work is to go elsewhere: it relays only where nobody else does.
    pub draining: bool,
    /// Whether the owner has a connection to it.
    pub is_connected: bool,
}

/// The nodes that can relay from `source_region` to node `me` in `my_region`, the best first; none where the source is
/// near or nobody is there.
///
/// Each partition has an order of its own over the nodes (rendezvous hashing), so that partitions spread evenly and
/// one whose relay is gone moves alone.
#[must_use]
pub fn relays(
    me: NodeId,
    my_region: &Name,
    source_region: &Name,
    nodes: impl IntoIterator<Item = Candidate>,
    partition: &PartitionId,
) -> Vec<NodeId> {
    if my_region == source_region {
        return Vec::new();
    }
    let serves =
        |candidate: &Candidate| candidate.node != me && candidate.is_connected && candidate.region == *source_region;
    let mut ranked: Vec<_> = nodes
        .into_iter()
        .filter(serves)
        .map(|candidate| (candidate.draining, Reverse(weight(candidate.node, partition)), candidate.node))
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., node)| node).collect()
}

/// Only compared within one process, so it may differ between builds.
fn weight(node: NodeId, partition: &PartitionId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node, partition).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use causeway_core::ids::StreamId;
    use causeway_core::partition::QueueId;
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn region(number: u8) -> Name {
        Name::new(format!("region-{number}")).unwrap()
    }

    fn partition(queue: u32) -> PartitionId {
        PartitionId { stream: StreamId(3), source: QueueId { broker: "b".to_owned(), queue } }
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (0_u8..3, any::<bool>(), any::<bool>());
        prop::collection::vec(one, 0..12).prop_map(|all| {
            let numbered = all.into_iter().zip(1..);
            numbered
                .map(|((at, draining, is_connected), node)| Candidate {
                    node: NodeId(node),
                    region: region(at),
                    draining,
                    is_connected,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn exactly_the_connected_others_of_the_source_s_region_relay_and_whoever_drains_comes_last(
            nodes in candidates(), me in 1_u64..13, mine in 0_u8..3, source in 0_u8..3, queue in any::<u32>(),
        ) {
            let chosen = relays(NodeId(me), &region(mine), &region(source), nodes.clone(), &partition(queue));
            let mut expected: Vec<_> = nodes
                .iter()
                .filter(|node| mine != source && node.region == region(source) && node.is_connected)
                .map(|node| node.node)
                .filter(|node| *node != NodeId(me))
                .collect();
            let draining = |node: &NodeId| nodes.iter().any(|other| other.node == *node && other.draining);
            prop_assert!(chosen.is_sorted_by_key(draining));
            let mut reversed = nodes.clone();
            reversed.reverse();
            let again = relays(NodeId(me), &region(mine), &region(source), reversed, &partition(queue));
            prop_assert_eq!(&again, &chosen, "the order that nodes are given in does not matter");
            let mut sorted = chosen;
            sorted.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }

        #[test]
        fn when_a_node_goes_only_its_partitions_move(nodes in candidates(), gone in any::<prop::sample::Index>()) {
            let all: Vec<_> = nodes
                .into_iter()
                .map(|node| Candidate { region: region(1), draining: false, is_connected: true, ..node })
                .collect();
            if all.is_empty() {
                return Ok(());
            }
            let gone = all[gone.index(all.len())].node;
            let left: Vec<_> = all.iter().filter(|node| node.node != gone).cloned().collect();
            for queue in 0..50 {
                let first = |nodes: &[Candidate]| {
                    relays(NodeId(99), &region(0), &region(1), nodes.to_vec(), &partition(queue)).first().copied()
                };
                let before = first(&all);
                prop_assert!(before == first(&left) || before == Some(gone));
            }
        }
    }

    #[test]
    fn partitions_spread_over_the_nodes() {
        let nodes: Vec<_> = (1..=4)
            .map(|node| Candidate { node: NodeId(node), region: region(1), draining: false, is_connected: true })
            .collect();
        let mut counts = BTreeMap::<NodeId, u32>::new();
        for queue in 0..400 {
            let chosen = relays(NodeId(9), &region(0), &region(1), nodes.clone(), &partition(queue));
            *counts.entry(chosen[0]).or_default() += 1;
        }
        assert!(counts.len() == 4 && counts.values().all(|count| (60..140).contains(count)), "{counts:?}");
    }
}
