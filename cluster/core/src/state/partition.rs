//! Partitions: found, assigned, faulted, resolved.

use super::State;
use crate::checkpoint::Checkpoint;
use crate::command::NewPartition;
use crate::fault::{Fault, Resolution};
use crate::ids::{Epoch, Incarnation, NodeId, StreamId, Timestamp};
use crate::name::Name;
use crate::node::Predecessor;
use crate::outcome::{Outcome, Refusal};
use crate::partition::{MAXIMUM_RESOLVED_FAULTS, Partition, PartitionId, RaisedFault, ResolvedFault};
use crate::skip::Skip;
use crate::stream::{StartPosition, Stream};

/// By how much a broker's clock may be behind the cluster's, in milliseconds. Messages are found by the broker's time
/// and streams are created in the cluster's: so much before its creation a `latest` stream looks in queues found late.
const CLOCK_MARGIN_MILLISECONDS: i64 = 10 * 60_000;

impl State {
    pub(super) fn add_partitions(&mut self, id: StreamId, new: &[NewPartition]) -> Result<Outcome, Refusal> {
        let missing = || Refusal::NoSuchPartition(id.to_string());
        let stream = self.stream_by_id(id).ok_or_else(missing)?;
        let is_first_discovery = self.partitions_of(id).next().is_none();
        let start = if is_first_discovery { stream.spec.start } else { start_of_late_queues(stream) };
        let generation = stream.generation;
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
                moving_to: None,
                predecessor: Predecessor::default(),
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
        partition.predecessor = partition.owner.map_or(partition.predecessor, Predecessor::Ended);
        partition.owner = Some(node);
        partition.moving_to = None;
        partition.epoch = epoch;
        Ok(Outcome::NewEpoch(epoch))
    }

    /// Only asks: the owner goes on until it has let go. To name the owner itself takes an earlier wish back.
    pub(super) fn move_partition(&mut self, id: &PartitionId, epoch: Epoch, to: NodeId) -> Result<Outcome, Refusal> {
        if !self.nodes.contains_key(&to) {
            return Err(Refusal::NoSuchNode(to));
        }
        let partition = self.partition_mut(id)?;
        if epoch != partition.epoch || partition.owner.is_none() {
            return Err(Refusal::StaleEpoch { proposed: epoch, current: partition.epoch });
        }
        partition.moving_to = Some(to).filter(|to| partition.owner != Some(*to));
        Ok(Outcome::Done)
    }

    /// The owner has stopped. Where every send of it is answered, whoever is next goes on at once.
    pub(super) fn release(
        &mut self,
        id: &PartitionId,
        node: NodeId,
        epoch: Epoch,
        last: Option<&Checkpoint>,
        settled: bool,
    ) -> Result<Outcome, Refusal> {
        let partition = self.partition_mut(id)?;
        if epoch != partition.epoch || partition.owner != Some(node) {
            return Err(Refusal::StaleEpoch { proposed: epoch, current: partition.epoch });
        }
        let to = partition.moving_to.ok_or_else(|| Refusal::NotMoving(id.to_string()))?;
        if let Some(last) = last {
            if !super::progress::advances(partition, node, last) {
                return Err(Refusal::ProgressGoesBack(id.to_string()));
            }
            partition.checkpoint = Some(last.clone());
        }
        partition.owner = Some(to);
        partition.moving_to = None;
        partition.predecessor = if settled { Predecessor::Released(node) } else { Predecessor::Ended(node) };
        partition.epoch = partition.epoch.next();
        Ok(Outcome::NewEpoch(partition.epoch))
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

    /// Refused when the fault is not the one that was `judged`.
    ///
    /// | decision | position | incarnations |
    /// |---|---|---|
    /// | retry | unchanged | unchanged |
    /// | skip of a source range or record | behind it | unchanged |
    /// | skip of a record that was copied before it was damaged | unchanged; it is compared with nothing | unchanged |
    /// | skip of a lost target tail | unchanged; it is not read, a last copy in it is given up | unchanged |
    /// | restart | the given one | a new one of the source queue |
    pub(super) fn resolve_fault(
        &mut self,
        id: &PartitionId,
        judged: Option<&RaisedFault>,
        resolution: Resolution,
        at: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let partition = self.partition_mut(id)?;
        let Some(raised) = partition.fault.clone() else {
            return Err(Refusal::NotFaulted(id.to_string()));
        };
        if judged.is_some_and(|judged| *judged != raised) {
            return Err(Refusal::FaultChanged(raised.fault));
        }
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
        partition.begin_again();
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

/// Where queues begin that were found after the stream's first ones.
///
/// Such a queue may be new, or as old as the others: its broker was not registered, or a name server that had just
/// started did not name it. Nothing tells which. So none is begun where messages are lost if it is new, nor, as far as
/// that can be helped, where messages from before the stream are copied if it is old.
fn start_of_late_queues(stream: &Stream) -> StartPosition {
    match stream.spec.start {
        // The end of a new queue is behind messages that were produced before it was found.
        StartPosition::Latest => {
            StartPosition::Timestamp(stream.created_at.0.saturating_sub(CLOCK_MARGIN_MILLISECONDS))
        }
        // What was meant holds for any queue.
        StartPosition::Timestamp(time) => StartPosition::Timestamp(time),
        // An offset was read off the queues that existed: in a new one it would leave out messages that nobody meant.
        StartPosition::Earliest | StartPosition::Offset(_) => StartPosition::Earliest,
    }
}

fn skip(partition: &mut Partition, fault: &Fault) -> Result<(), Refusal> {
    let agreed = partition.checkpoint.as_ref().map(|checkpoint| checkpoint.source_next);
    match (Skip::of(fault, agreed)?, partition.checkpoint.as_mut()) {
        (Skip::TrustCheckpoint { unproven_from, target_next }, Some(checkpoint)) => {
            checkpoint.target_next = checkpoint.target_next.max(target_next);
            checkpoint.last_copy = checkpoint.last_copy.filter(|copy| copy.target_offset < unproven_from);
        }
        (Skip::GoOnAt { source_next, .. }, Some(checkpoint)) => {
            checkpoint.source_next = source_next;
            // The record before the new position was never read, or it is the damaged one: it is compared with nothing.
            // The last copy stays, because it proves what the target holds.
            checkpoint.fingerprint = None;
        }
        (Skip::GoOnAt { source_next, .. }, None) => partition.start = StartPosition::Offset(source_next),
        (Skip::TrustCheckpoint { .. }, None) => return Err(Refusal::CannotSkip(fault.clone())),
    }
    Ok(())
}
