//! The nodes of the cluster as relays.

use std::fmt;

use causeway_cluster::Group;
use causeway_cluster::transport::Error;
use causeway_cluster::transport::streams::{Opening, Stream};
use causeway_core::ids::NodeId;
use causeway_core::partition::PartitionId;

use super::choice::{self, Candidate};
use super::{Place, Relays};

/// Relays by what the cluster agreed on about its nodes and what this one has connections to.
pub struct Members {
    group: Group,
}

impl Members {
    /// The nodes of this member's cluster.
    #[must_use]
    pub fn new(group: Group) -> Self {
        Self { group }
    }
}

impl Relays for Members {
    fn relays_for(&self, source: &Place, partition: &PartitionId) -> Vec<NodeId> {
        let (view, me) = (self.group.view(), self.group.me());
        let source_region = view.instances.get(&source.instance).map(|instance| &instance.spec.region);
        let Some((mine, source_region)) = view.nodes.get(&me).zip(source_region) else { return Vec::new() };
        if mine.region == *source_region {
            return Vec::new();
        }
        let peers = self.group.peers();
        let is_connected = |node: &NodeId| peers.get(node).is_some_and(|peer| peer.state.is_connected());
        let candidates = view.nodes.iter().map(|(node, is)| Candidate {
            node: *node,
            region: is.region.clone(),
            draining: !is.takes_partitions(),
            is_connected: is_connected(node),
        });
        choice::relays(me, &mine.region, source_region, candidates, partition)
    }

    fn open(&self, node: NodeId, opening: Opening) -> Result<Stream, Error> {
        self.group.open_stream(node, opening)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Members").field("me", &self.group.me()).finish()
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
