//! The state of a cluster that begins anew from a backup, or from what one node still holds.
//!
//! The old cluster may have gone on behind what is restored: ids, versions and epochs that it gave out since then are
//! in no backup, but in provenance at targets and on other nodes. So whatever is given out from now on lies far above.

use super::State;
use crate::ids::{Epoch, NodeId};

/// How far log indexes jump: streams and versions are numbered by them. A cluster agrees on far fewer commands between
/// two backups.
pub const INDEX_JUMP: u64 = 1 << 40;

/// How far the epochs of partitions jump. No partition changes hands so often.
const EPOCH_JUMP: u64 = 1 << 32;

/// How far the ids of nodes jump.
const NODE_JUMP: u64 = 1_000;

impl State {
    /// Forgets all nodes and join tokens, and answers the id of the only node of the new beginning. Its log has to
    /// begin at least [`INDEX_JUMP`] above whatever the state includes. Partitions keep their dead owners until the new
    /// node is given them, so that it looks for what these left on its way.
    /// `beginning` tells apart two beginnings from the same state: everything lies further above for each.
    pub fn begin_anew(&mut self, beginning: u16) -> NodeId {
        let times = u64::from(beginning).saturating_add(1);
        self.nodes.clear();
        self.join_tokens.clear();
        for partition in self.partitions.values_mut() {
            partition.moving_to = None;
            partition.epoch = Epoch(partition.epoch.0.saturating_add(EPOCH_JUMP.saturating_mul(times)));
        }
        self.highest_node = NodeId(self.highest_node.0.saturating_add(NODE_JUMP.saturating_mul(times)));
        self.highest_node
    }
}
