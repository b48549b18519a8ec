//! The state as versions 3 and 4 store it, for a build that knows one version more.

use std::collections::BTreeMap;

use super::State;
use crate::codec;
use crate::ids::{ClusterId, NodeId};
use crate::instance::Instance;
use crate::name::Name;
use crate::node::{JoinToken, Node};
use crate::partition::{Partition, PartitionId};
use crate::stream::Stream;

/// The fields in their order: bincode stores a tuple as it stores a struct.
type Third = (
    Option<ClusterId>,
    BTreeMap<NodeId, Node>,
    BTreeMap<Name, Instance>,
    BTreeMap<Name, Stream>,
    BTreeMap<PartitionId, Partition>,
    BTreeMap<Name, [u8; 32]>,
    BTreeMap<[u8; 32], JoinToken>,
    NodeId,
    u16,
);

pub(super) fn encode(state: &State) -> Result<Vec<u8>, codec::Error> {
    let State {
        cluster, nodes, instances, streams, partitions, tokens, join_tokens, highest_node, agreed_version, ..
    } = state;
    codec::encode(&(cluster, nodes, instances, streams, partitions, tokens, join_tokens, highest_node, agreed_version))
}

pub(super) fn decode(bytes: &[u8]) -> Result<State, codec::Error> {
    let (cluster, nodes, instances, streams, partitions, tokens, join_tokens, highest_node, agreed_version) =
        codec::decode::<Third>(bytes)?;
    Ok(State {
        cluster,
        nodes,
        instances,
        streams,
        partitions,
        tokens,
        join_tokens,
        highest_node,
        agreed_version,
        marks: 0,
    })
}
