//! What is known of other nodes and of ownerships beside what this node measures itself.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use causeway_core::ids::{Epoch, NodeId, Timestamp};
use causeway_core::name::Name;
use causeway_core::partition::{Partition, PartitionId};
use causeway_core::state::State;
use tokio::time::Instant;

use super::{Figures, StatusBoard};

/// Another node.
#[derive(Debug)]
pub(super) enum Neighbour {
    /// What it told last.
    Told(Figures),
    /// It tells nothing any more.
    Silent(Silence),
}

/// Since when a node tells nothing: when it told something last, or was asked for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// For people.
    pub since: Timestamp,
    /// The same moment, for comparing.
    pub at: Instant,
}

impl StatusBoard {
    /// Another node told this.
    pub fn heard(&self, node: NodeId, figures: Figures) {
        self.set_neighbour(node, Neighbour::Told(figures));
    }

    /// Another node has told nothing for too long: what it told before is worth nothing any more.
    pub fn unheard(&self, node: NodeId, silence: Silence) {
        self.set_neighbour(node, Neighbour::Silent(silence));
    }

    /// It is no other node any more.
    pub fn forget(&self, node: NodeId) {
        self.neighbours.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    fn set_neighbour(&self, node: NodeId, neighbour: Neighbour) {
        self.neighbours.write().unwrap_or_else(PoisonError::into_inner).insert(node, neighbour);
    }

    /// Since when another node tells nothing; none while it does, or was never asked.
    #[must_use]
    pub fn silence(&self, node: NodeId) -> Option<Silence> {
        match self.neighbours.read().unwrap_or_else(PoisonError::into_inner).get(&node) {
            Some(Neighbour::Silent(silence)) => Some(*silence),
            Some(Neighbour::Told(_)) | None => None,
        }
    }

    /// Looks who owns what; to be done about once a second.
    pub fn look_at_owners(&self, view: &State, now: Timestamp) {
        self.ownerships.write().unwrap_or_else(PoisonError::into_inner).look(view, now);
    }

    /// When the present ownership of a partition began, or was seen first by this node.
    #[must_use]
    pub fn owned_since(&self, id: &PartitionId, agreed: &Partition) -> Timestamp {
        self.ownerships.read().unwrap_or_else(PoisonError::into_inner).since(id, agreed)
    }

    /// The name of a node; its number where the name is not known.
    pub(super) fn node_name(&self, node: NodeId) -> String {
        self.ownerships.read().unwrap_or_else(PoisonError::into_inner).name(node)
    }
}

/// Since when each partition has had the owner that it has, as far as this node saw it: nobody agrees on times.
#[derive(Debug, Default)]
pub(super) struct Ownerships {
    /// When it was looked last.
    looked: Timestamp,
    /// The names of all nodes.
    names: BTreeMap<NodeId, Name>,
    seen: BTreeMap<PartitionId, (Option<NodeId>, Epoch, Timestamp)>,
}

impl Ownerships {
    /// Looks once; to be done about once a second.
    pub(super) fn look(&mut self, view: &State, now: Timestamp) {
        self.looked = now;
        self.names = view.nodes.iter().map(|(id, node)| (*id, node.name.clone())).collect();
        self.seen.retain(|id, _| view.partitions.contains_key(id));
        for (id, partition) in &view.partitions {
            let current = (partition.owner, partition.epoch);
            match self.seen.get_mut(id) {
                Some((owner, epoch, _)) if (*owner, *epoch) == current => {}
                Some(seen) => *seen = (current.0, current.1, now),
                None => drop(self.seen.insert(id.clone(), (current.0, current.1, now))),
            }
        }
    }

    /// When the present ownership began, or was seen first; what no look has seen yet began behind the last one.
    pub(super) fn since(&self, id: &PartitionId, agreed: &Partition) -> Timestamp {
        let seen = self.seen.get(id).filter(|(owner, epoch, _)| (*owner, *epoch) == (agreed.owner, agreed.epoch));
        seen.map_or(self.looked, |(_, _, since)| *since)
    }

    fn name(&self, node: NodeId) -> String {
        self.names.get(&node).map_or_else(|| format!("node {node}"), Name::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ownership_lasts_since_it_was_seen_first_and_a_new_one_since_it_was_missed() {
        let mut view = crate::admin::tests::two_streams();
        let mut ownerships = Ownerships::default();
        let id = view.partitions.keys().next().unwrap().clone();
        let since = |ownerships: &Ownerships, view: &State| ownerships.since(&id, &view.partitions[&id]).0;
        for now in [1_000, 2_000, 3_000] {
            ownerships.look(&view, Timestamp(now));
            assert_eq!(since(&ownerships, &view), 1_000);
        }
        let moved = view.partitions.get_mut(&id).unwrap();
        (moved.owner, moved.epoch) = (Some(NodeId(9)), moved.epoch.next());
        assert_eq!(since(&ownerships, &view), 3_000, "it began behind the last look");
        ownerships.look(&view, Timestamp(4_000));
        ownerships.look(&view, Timestamp(5_000));
        assert_eq!(since(&ownerships, &view), 4_000);
    }
}
