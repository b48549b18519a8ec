//! Progress: checkpoints that advance, and rewinds after the target lost acknowledged copies.

use super::State;
use crate::checkpoint::Checkpoint;
use crate::command::Progress;
use crate::ids::{Epoch, NodeId};
use crate::outcome::{Outcome, Refusal};
use crate::partition::{Partition, PartitionId};

impl State {
    /// Each report is accepted or refused by itself, so one moved partition never holds back the others' progress.
    pub(super) fn record_progress(&mut self, node: NodeId, progress: &[Progress]) -> Outcome {
        let mut refused = 0;
        for report in progress {
            match self.partitions.get_mut(&report.partition) {
                Some(partition) if advances(partition, node, &report.checkpoint) => {
                    partition.checkpoint = Some(report.checkpoint.clone());
                }
                _ => refused += 1,
            }
        }
        Outcome::Recorded { refused }
    }

    pub(super) fn rewind(
        &mut self,
        id: &PartitionId,
        epoch: Epoch,
        checkpoint: &Checkpoint,
    ) -> Result<Outcome, Refusal> {
        let partition = self.partition_mut(id)?;
        if epoch != partition.epoch {
            return Err(Refusal::StaleEpoch { proposed: epoch, current: partition.epoch });
        }
        let goes_back = partition.checkpoint.as_ref().is_some_and(|current| {
            checkpoint.source_next <= current.source_next
                && checkpoint.source_incarnation == partition.source_incarnation
        });
        if !goes_back {
            return Err(Refusal::NotARewind);
        }
        partition.begin_again();
        partition.target_incarnation = partition.target_incarnation.next();
        partition.rewinds = partition.rewinds.saturating_add(1);
        partition.checkpoint = Some(Checkpoint {
            epoch: partition.epoch,
            target_incarnation: partition.target_incarnation,
            ..checkpoint.clone()
        });
        Ok(Outcome::NewEpoch(partition.epoch))
    }
}

/// Whether a report is of the current ownership and incarnations, and does not go back.
pub(super) fn advances(partition: &Partition, node: NodeId, new: &Checkpoint) -> bool {
    let current_ownership = partition.owner == Some(node) && partition.epoch == new.epoch;
    let current_life = new.source_incarnation == partition.source_incarnation
        && new.target_incarnation == partition.target_incarnation;
    let forward = partition.checkpoint.as_ref().is_none_or(|old| {
        new.source_next >= old.source_next && new.target_next >= old.target_next && new.rule_version >= old.rule_version
    });
    current_ownership && current_life && forward && partition.fault.is_none()
}
