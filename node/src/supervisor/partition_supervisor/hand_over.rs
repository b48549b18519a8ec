//! What one ownership of a partition leaves to the next.

use std::sync::Arc;

use causeway_core::node::Predecessor;
use causeway_core::partition::{Partition, PartitionId};

use super::PartitionSupervisor;
use crate::replicate::InFlight;
use crate::supervisor::proposer::Proposer;

impl<P: Proposer> PartitionSupervisor<P> {
    /// What may be on its way to the target of a partition. What this process knows holds for its next ownership too,
    /// if there is none between them.
    pub(super) fn in_flight(&mut self, id: &PartitionId, partition: &Partition) -> Arc<InFlight> {
        let me = self.equipment.me;
        let memory = self.memory.entry(id.clone()).or_default();
        let known = memory.in_flight.take().filter(|(epoch, _)| {
            let follows = epoch.next() == partition.epoch && partition.predecessor == Predecessor::Ended(me);
            *epoch == partition.epoch || follows
        });
        let in_flight = known.map_or_else(|| Arc::new(InFlight::after(partition.predecessor)), |(_, sends)| sends);
        memory.in_flight = Some((partition.epoch, Arc::clone(&in_flight)));
        in_flight
    }
}
