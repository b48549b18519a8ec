//! What each node carries, and who may carry what.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conditions, Liveness};
use crate::ids::{NodeId, StreamId};
use crate::name::Name;
use crate::partition::{Partition, PartitionId};
use crate::state::State;

/// What a partition weighs that copies nothing, in bytes per second: connections, pulls that wait, checkpoints.
pub const BASE_BURDEN: u64 = 16 * 1024;

/// Whether a node may be given partitions: it is up, and its own are not to go elsewhere, because an operator said so
/// or because its process is about to end.
#[must_use]
pub fn may_take(draining: bool, leaving: bool, liveness: Liveness) -> bool {
    liveness == Liveness::Up && !draining && !leaving
}

/// What nodes carry, kept true while a plan grows.
pub(super) struct Burdens<'a> {
    conditions: &'a Conditions,
    carried: BTreeMap<NodeId, u64>,
    regions: BTreeMap<NodeId, &'a Name>,
    target_regions: BTreeMap<StreamId, &'a Name>,
    /// Partitions on their way, and those that this plan sends on it.
    touched: BTreeSet<&'a PartitionId>,
    moving: usize,
}

impl<'a> Burdens<'a> {
    pub(super) fn new(view: &'a State, conditions: &'a Conditions) -> Self {
        let may_own = view.nodes.iter().filter(|(id, node)| {
            let liveness = conditions.nodes.get(id).copied().unwrap_or(Liveness::Silent);
            may_take(node.draining, node.leaving, liveness)
        });
        let regions: BTreeMap<_, _> = may_own.map(|(id, node)| (*id, &node.region)).collect();
        let target_region = |instance| view.instances.get(instance).map(|instance| &instance.spec.region);
        let mut burdens = Self {
            conditions,
            carried: regions.keys().map(|node| (*node, 0)).collect(),
            regions,
            target_regions: view
                .streams
                .values()
                .filter_map(|stream| Some((stream.id, target_region(&stream.spec.target.instance)?)))
                .collect(),
            touched: BTreeSet::new(),
            moving: 0,
        };
        for (id, partition) in &view.partitions {
            if let Some(node) = partition.moving_to.or(partition.owner) {
                burdens.add(node, id);
            }
            if partition.moving_to.is_some() {
                burdens.touched.insert(id);
                burdens.moving = burdens.moving.saturating_add(1);
            }
        }
        burdens
    }

    /// How many partitions were on their way before this plan.
    pub(super) fn moving(&self) -> usize {
        self.moving
    }

    /// What a partition weighs.
    pub(super) fn of(&self, partition: &PartitionId) -> u64 {
        BASE_BURDEN.saturating_add(self.conditions.bytes_per_second.get(partition).copied().unwrap_or(0))
    }

    /// What a node carries; none for one that may not own anything now.
    pub(super) fn carried(&self, node: NodeId) -> Option<u64> {
        self.carried.get(&node).copied()
    }

    /// Whether a partition may be touched by this plan.
    pub(super) fn is_free(&self, id: &PartitionId) -> bool {
        !self.touched.contains(id)
    }

    /// Whether the owner is up, so that it can be asked to let go.
    pub(super) fn can_be_asked(&self, partition: &Partition) -> Option<NodeId> {
        partition.owner.filter(|owner| self.conditions.nodes.get(owner) == Some(&Liveness::Up))
    }

    /// Whether a node may own a partition of this stream now: it stands beside the target, or nobody does who may.
    pub(super) fn suits(&self, node: NodeId, stream: StreamId) -> bool {
        let Some(region) = self.regions.get(&node) else { return false };
        match self.target_regions.get(&stream) {
            Some(wanted) => region == wanted || !self.regions.values().any(|other| other == wanted),
            None => true,
        }
    }

    /// The node that carries least of those that suit.
    pub(super) fn lightest(&self, stream: StreamId) -> Option<NodeId> {
        let suitable = self.carried.iter().filter(|(node, _)| self.suits(**node, stream));
        suitable.min_by_key(|(node, carried)| (**carried, **node)).map(|(node, _)| *node)
    }

    /// Writes down that a partition goes to a node.
    pub(super) fn give(&mut self, id: &'a PartitionId, from: Option<NodeId>, to: NodeId) {
        let weight = self.of(id);
        if let Some(carried) = from.and_then(|from| self.carried.get_mut(&from)) {
            *carried = carried.saturating_sub(weight);
        }
        self.add(to, id);
        self.touched.insert(id);
    }

    /// Nodes that may own something, the one that carries most first.
    pub(super) fn heaviest_first(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.carried.iter().map(|(node, carried)| (*carried, *node)).collect();
        nodes.sort_unstable_by(|one, other| other.cmp(one));
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    fn add(&mut self, node: NodeId, id: &PartitionId) {
        let weight = self.of(id);
        if let Some(carried) = self.carried.get_mut(&node) {
            *carried = carried.saturating_add(weight);
        }
    }
}
