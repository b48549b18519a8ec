//! Nodes: who has started, and what a start means for the partitions that the node owns.

use serde::{Deserialize, Serialize};

use super::State;
use crate::ids::{NodeId, Timestamp};
use crate::name::Name;
use crate::outcome::Outcome;

/// A node that has started at least once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// Its region label.
    pub region: Name,
    /// How often its process has started.
    pub starts: u64,
    /// When it last started.
    pub started_at: Timestamp,
}

impl State {
    pub(super) fn node_started(&mut self, id: NodeId, name: &Name, region: &Name, at: Timestamp) -> Outcome {
        let starts = self.nodes.get(&id).map_or(0, |node| node.starts);
        let node =
            Node { name: name.clone(), region: region.clone(), starts: starts.saturating_add(1), started_at: at };
        self.nodes.insert(id, node);
        for partition in self.partitions.values_mut().filter(|partition| partition.owner == Some(id)) {
            partition.epoch = partition.epoch.next();
        }
        Outcome::Done
    }
}
