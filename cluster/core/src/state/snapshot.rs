//! The stored form of a state, by the version of the command set that it was written under.
//!
//! bincode tells nothing of itself, so the shape that an older version wrote is kept here as types of its own.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::State;
#[cfg(feature = "next-commands")]
use super::next;
use crate::checkpoint::Checkpoint;
use crate::codec;
use crate::command::CURRENT_VERSION;
#[cfg(feature = "next-commands")]
use crate::command::RELEASED_VERSION;
use crate::ids::{ClusterId, Epoch, Generation, Incarnation, NodeId, Timestamp};
use crate::instance::Instance;
use crate::name::Name;
use crate::node::{MemberRole, Node, Predecessor, ProcessId};
use crate::partition::{Partition, PartitionId, QueueId, RaisedFault, ResolvedFault};
use crate::stream::{StartPosition, Stream};

/// The oldest version whose form is still written.
const OLDEST_WRITTEN: u16 = 3;

impl State {
    /// The version whose form [`State::to_snapshot`] writes: the agreed one, so that a node of an older build can read
    /// it as long as one belongs to the cluster, or is put back in the middle of an upgrade.
    #[must_use]
    pub fn stored_version(&self) -> u16 {
        self.agreed_version.clamp(OLDEST_WRITTEN, CURRENT_VERSION)
    }

    /// The stored form, as [`State::stored_version`] writes it.
    ///
    /// # Errors
    /// [`codec::Error::Encode`].
    pub fn to_snapshot(&self) -> Result<Vec<u8>, codec::Error> {
        #[cfg(feature = "next-commands")]
        if self.stored_version() <= RELEASED_VERSION {
            return next::encode(self);
        }
        codec::encode(self)
    }

    /// Reads what a version of the command set wrote.
    ///
    /// # Errors
    /// [`codec::Error`] for bytes that this version did not write.
    pub fn from_snapshot(version: u16, bytes: &[u8]) -> Result<Self, codec::Error> {
        match version {
            0..=2 => codec::decode::<Second>(bytes).map(|old| old.upgraded(version)),
            #[cfg(feature = "next-commands")]
            3..=RELEASED_VERSION => next::decode(bytes),
            _ => codec::decode(bytes),
        }
    }
}

/// The state as versions 1 and 2 stored it.
#[derive(Deserialize)]
struct Second {
    cluster: Option<ClusterId>,
    nodes: BTreeMap<NodeId, SecondNode>,
    instances: BTreeMap<Name, Instance>,
    streams: BTreeMap<Name, Stream>,
    partitions: BTreeMap<PartitionId, SecondPartition>,
    tokens: BTreeMap<Name, [u8; 32]>,
}

#[derive(Deserialize)]
struct SecondNode {
    name: Name,
    region: Name,
    starts: u64,
    started_at: Timestamp,
}

#[derive(Deserialize)]
struct SecondPartition {
    generation: Generation,
    target: QueueId,
    start: StartPosition,
    source_incarnation: Incarnation,
    target_incarnation: Incarnation,
    epoch: Epoch,
    owner: Option<NodeId>,
    checkpoint: Option<Checkpoint>,
    fault: Option<RaisedFault>,
    resolved: Vec<ResolvedFault>,
    rewinds: u64,
}

impl Second {
    fn upgraded(self, version: u16) -> State {
        State {
            cluster: self.cluster,
            highest_node: self.nodes.keys().next_back().copied().unwrap_or_default(),
            nodes: self.nodes.into_iter().map(|(id, node)| (id, node.upgraded())).collect(),
            instances: self.instances,
            streams: self.streams,
            partitions: self.partitions.into_iter().map(|(id, partition)| (id, partition.upgraded())).collect(),
            tokens: self.tokens,
            join_tokens: BTreeMap::new(),
            agreed_version: version,
            #[cfg(feature = "next-commands")]
            marks: 0,
        }
    }
}

impl SecondNode {
    fn upgraded(self) -> Node {
        Node {
            name: self.name,
            region: self.region,
            address: None,
            role: MemberRole::Voter,
            draining: false,
            leaving: false,
            supports: 2,
            process: ProcessId::default(),
            starts: self.starts,
            started_at: self.started_at,
            admitted_by: None,
        }
    }
}

impl SecondPartition {
    fn upgraded(self) -> Partition {
        Partition {
            generation: self.generation,
            target: self.target,
            start: self.start,
            source_incarnation: self.source_incarnation,
            target_incarnation: self.target_incarnation,
            epoch: self.epoch,
            predecessor: self.owner.map_or(Predecessor::Nobody, Predecessor::Ended),
            owner: self.owner,
            moving_to: None,
            checkpoint: self.checkpoint,
            fault: self.fault,
            resolved: self.resolved,
            rewinds: self.rewinds,
        }
    }
}
