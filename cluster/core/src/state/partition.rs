//! Partitions: found, assigned, faulted, resolved.

use super::State;
use crate::command::NewPartition;
use crate::fault::{Fault, Resolution};
use crate::ids::{Epoch, Incarnation, NodeId, StreamId, Timestamp};
use crate::name::Name;
use crate::outcome::{Outcome, Refusal};
use crate::partition::{MAXIMUM_RESOLVED_FAULTS, Partition, PartitionId, RaisedFault, ResolvedFault};
use crate::stream::StartPosition;

impl State {
    pub(super) fn add_partitions(&mut self, id: StreamId, new: &[NewPartition]) -> Result<Outcome, Refusal> {
        let missing = || Refusal::NoSuchPartition(id.to_string());
        let stream = self.stream_by_id(id).ok_or_else(missing)?;
        let (generation, start) = (stream.generation, stream.spec.start);
        // Queues that appear after the stream began have only new messages: to start them at "latest" would lose
        // whatever was produced before they were discovered.
        let first_discovery = self.partitions_of(id).next().is_none();
        let start = if first_discovery { start } else { StartPosition::Earliest };
        for partition in new {
            let key = PartitionId { stream: id, source: partition.source.clone() };
            self.partitions.entry(key).or_insert_with(|| Partition {
                generation,
                target: partition.target.clone(),
                start,
                source_incarnation: Incarnation::default(),
                target_incarnation: Incarnation::default(),
                epoch: Epoch::default(),
                owner: None,
                checkpoint: None,
                fault: None,
                resolved: Vec::new(),
                rewinds: 0,
            });
        }
        Ok(Outcome::Done)
    }

    pub(super) fn assign(&mut self, id: &PartitionId, node: NodeId, epoch: Epoch) -> Result<Outcome, Refusal> {
        let partition = self.partition_mut(id)?;
        if epoch != partition.epoch.next() {
            return Err(Refusal::StaleEpoch { proposed: epoch, current: partition.epoch });
        }
        partition.owner = Some(node);
        partition.epoch = epoch;
        Ok(Outcome::NewEpoch(epoch))
    }

    pub(super) fn raise_fault(
        &mut self,
        id: &PartitionId,
        epoch: Epoch,
        fault: &Fault,
        at: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let partition = self.partition_mut(id)?;
        if epoch != partition.epoch {
            return Err(Refusal::StaleEpoch { proposed: epoch, current: partition.epoch });
        }
        partition.fault = Some(RaisedFault { fault: fault.clone(), since: at });
        Ok(Outcome::Done)
    }

    /// | decision | position | incarnations |
    /// |---|---|---|
    /// | retry | unchanged | unchanged |
    /// | skip of a source range or record | behind it | unchanged |
    /// | skip of a record that was copied before it was damaged | unchanged; it is compared with nothing | unchanged |
    /// | skip of a lost target tail | unchanged; the tail read begins at what the target still holds | unchanged |
    /// | restart | the given one | a new one of the source queue |
    pub(super) fn resolve_fault(
        &mut self,
        id: &PartitionId,
        resolution: Resolution,
        at: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let partition = self.partition_mut(id)?;
        let Some(raised) = partition.fault.clone() else {
            return Err(Refusal::NotFaulted(id.to_string()));
        };
        match resolution {
            Resolution::Retry => {}
            Resolution::Skip => skip(partition, &raised.fault)?,
            Resolution::Restart { start } => {
                partition.start = start;
                partition.source_incarnation = partition.source_incarnation.next();
                partition.checkpoint = None;
            }
        }
        partition.fault = None;
        partition.epoch = partition.epoch.next();
        if partition.resolved.len() >= MAXIMUM_RESOLVED_FAULTS {
            partition.resolved.remove(0);
        }
        partition.resolved.push(ResolvedFault { fault: raised.fault, resolution, at });
        Ok(Outcome::NewEpoch(partition.epoch))
    }

    /// The name of the stream that a partition belongs to, for messages to people.
    #[must_use]
    pub fn stream_name_of(&self, id: &PartitionId) -> Option<&Name> {
        self.stream_by_id(id.stream).map(|stream| &stream.spec.name)
    }
}

fn skip(partition: &mut Partition, fault: &Fault) -> Result<(), Refusal> {
    if let (Fault::TargetTailGone { to, .. }, Some(checkpoint)) = (fault, partition.checkpoint.as_mut()) {
        checkpoint.target_next = *to;
        return Ok(());
    }
    let position = fault.skip_to().ok_or_else(|| Refusal::CannotSkip(fault.clone()))?;
    if let (Some(checkpoint), Some(begins)) = (&partition.checkpoint, fault.begins_at())
        && checkpoint.source_next < begins
    {
        return Err(Refusal::ProgressBehindFault { agreed: checkpoint.source_next, fault: begins });
    }
    match partition.checkpoint.as_mut() {
        Some(checkpoint) => {
            checkpoint.source_next = checkpoint.source_next.max(position);
            // The record before the new position was never read, or it is the damaged one: it is compared with nothing.
            // The last copy stays, because it proves what the target holds.
            checkpoint.fingerprint = None;
        }
        None => partition.start = StartPosition::Offset(position),
    }
    Ok(())
}
