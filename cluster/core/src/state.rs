//! The state that Raft agreed, and how each command changes it.
//!
//! Determinism contract: [`State::apply`] is a function of the state, the entry's index and the envelope, and of
//! nothing else. A refusal is an [`Outcome`], never an error. Applying the same log on two replicas gives equal states.
//!
//! One command family a file: [`instance`], [`stream`], [`partition`], [`progress`], [`node`]. The stored form
//! is in [`snapshot`].

mod instance;
#[cfg(feature = "next-commands")]
mod next;
mod node;
mod partition;
mod progress;
pub mod restore;
mod snapshot;
mod stream;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::{Command, Envelope};
use crate::ids::{ClusterId, NodeId, StreamId, Timestamp};
use crate::instance::Instance;
use crate::name::Name;
use crate::node::{JoinToken, Node};
use crate::outcome::{Outcome, Refusal};
use crate::partition::{Partition, PartitionId, QueueId};
use crate::stream::Stream;

/// Everything the cluster agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The cluster's identifier; none before it was initialised.
    pub cluster: Option<ClusterId>,
    /// Nodes that belong to the cluster.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Registered instances.
    pub instances: BTreeMap<Name, Instance>,
    /// Streams by name.
    pub streams: BTreeMap<Name, Stream>,
    /// Partitions of all streams.
    pub partitions: BTreeMap<PartitionId, Partition>,
    /// SHA-256 of API tokens by name.
    pub tokens: BTreeMap<Name, [u8; 32]>,
    /// Permissions to join, by the SHA-256 of the token, until the node that each lets in starts.
    pub join_tokens: BTreeMap<[u8; 32], JoinToken>,
    /// The highest id that a node ever had; the next one to join gets the one above it.
    pub highest_node: NodeId,
    /// The newest version of the command set that may be proposed: every node knows it.
    pub agreed_version: u16,
    /// How often the command of the next version was applied.
    #[cfg(feature = "next-commands")]
    pub marks: u64,
}

impl State {
    /// Applies one committed command.
    pub fn apply(&mut self, index: u64, envelope: &Envelope) -> Outcome {
        let at = envelope.at;
        let entry = Entry { index, version: envelope.version, at };
        let result = match &envelope.command {
            Command::Initialise { cluster } => self.initialise(*cluster),
            Command::NodeStarted { node, name, region } => Ok(self.node_started(*node, name, region, at)),
            Command::PutInstance { spec, identity, expected } => self.put_instance(spec, *identity, *expected, entry),
            Command::DeleteInstance { name } => self.delete_instance(name),
            Command::CreateStream { spec } => self.create_stream(spec, entry),
            Command::PauseStream { name } => self.pause_stream(name, at),
            Command::ResumeStream { name } => self.resume_stream(name, at),
            Command::DeleteStream { name } => self.delete_stream(name),
            Command::AddPartitions { stream, partitions } => self.add_partitions(*stream, partitions),
            Command::Assign { partition, node, epoch } => self.assign(partition, *node, *epoch),
            Command::RecordProgress { node, progress } => Ok(self.record_progress(*node, progress)),
            Command::Rewind { partition, epoch, checkpoint } => self.rewind(partition, *epoch, checkpoint),
            Command::RaiseFault { partition, epoch, fault } => self.raise_fault(partition, *epoch, fault, at),
            Command::ResolveFault { partition, resolution } => self.resolve_fault(partition, None, *resolution, at),
            Command::PutToken { name, hash } => Ok(self.put_token(name, *hash)),
            Command::DecideFault { partition, raised, resolution } => {
                self.resolve_fault(partition, Some(raised), *resolution, at)
            }
            Command::StartNode { node, spec, process } => self.start_node(*node, spec, *process, entry),
            Command::IssueJoinToken { hash, token } => self.issue_join_token(*hash, token, at),
            Command::AdmitNode { token, spec } => self.admit_node(*token, spec, at),
            Command::SetRole { node, role } => self.set_role(*node, *role),
            Command::SetDraining { node, draining } => self.set_draining(*node, *draining),
            Command::RemoveNode { node } => self.remove_node(*node),
            Command::RaiseVersion { to } => self.raise_version(*to),
            Command::Move { partition, epoch, to } => self.move_partition(partition, *epoch, *to),
            Command::Release { partition, node, epoch, checkpoint, settled } => {
                self.release(partition, *node, *epoch, checkpoint.as_ref(), *settled)
            }
            Command::LeaveNode { node, process } => self.leave_node(*node, *process),
            Command::ReplaceNode { token, spec } => self.replace_node(*token, spec, at),
            #[cfg(feature = "next-commands")]
            Command::Mark => {
                self.marks = self.marks.saturating_add(1);
                Ok(Outcome::Done)
            }
        };
        match result {
            Ok(outcome) => {
                self.agreed_version = self.agreed_version.max(envelope.version);
                outcome
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// The stream of this identifier.
    #[must_use]
    pub fn stream_by_id(&self, id: StreamId) -> Option<&Stream> {
        self.streams.values().find(|stream| stream.id == id)
    }

    /// The partitions of a stream, in the order of their source queues.
    pub fn partitions_of(&self, id: StreamId) -> impl Iterator<Item = (&PartitionId, &Partition)> {
        let first = PartitionId { stream: id, source: QueueId { broker: String::new(), queue: 0 } };
        self.partitions.range(first..).take_while(move |(partition, _)| partition.stream == id)
    }

    fn initialise(&mut self, cluster: ClusterId) -> Result<Outcome, Refusal> {
        if self.cluster.is_some() {
            return Err(Refusal::AlreadyInitialised);
        }
        self.cluster = Some(cluster);
        Ok(Outcome::Done)
    }

    fn put_token(&mut self, name: &Name, hash: [u8; 32]) -> Outcome {
        self.tokens.insert(name.clone(), hash);
        Outcome::Done
    }

    fn partition_mut(&mut self, id: &PartitionId) -> Result<&mut Partition, Refusal> {
        self.partitions.get_mut(id).ok_or_else(|| Refusal::NoSuchPartition(id.to_string()))
    }
}

/// The entry that is applied, besides its command.
#[derive(Debug, Clone, Copy)]
struct Entry {
    index: u64,
    /// Of the command set.
    version: u16,
    at: Timestamp,
}

impl Entry {
    /// The version of an instance or stream that this entry creates. Every change takes an entry, so none that had the
    /// same name before ever was at this version: nobody takes the new one for the old.
    fn first_version(self) -> u64 {
        if self.version >= 2 { self.index } else { 1 }
    }
}

/// Compares a version that a proposer expects with the current one.
fn expect_version(expected: u64, current: u64) -> Result<(), Refusal> {
    if expected == current { Ok(()) } else { Err(Refusal::VersionConflict { expected, current }) }
}

/// The time of a change never goes back, whatever the proposer's clock says.
fn later(previous: Timestamp, at: Timestamp) -> Timestamp {
    previous.max(at)
}
