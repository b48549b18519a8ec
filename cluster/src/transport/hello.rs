//! The first frame of either side: who speaks, and whether the other wants to hear it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{BufMut as _, Bytes, BytesMut};
use causeway_core::codec;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;
use serde::{Deserialize, Serialize};

use super::certificate::{Facts, certificate_name};
use super::refusal::{Refusal, RefusalCode};

/// The version of the protocol. Two nodes understand each other only when theirs is the same.
pub const PROTOCOL: u16 = 1;

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its cluster; none as long as it has not joined one.
    pub cluster: Option<ClusterId>,
    /// Its id; 0 as long as it has not joined a cluster.
    pub node: NodeId,
    /// Its name, which its certificate carries.
    pub name: Name,
    /// Its region.
    pub region: Name,
    /// The newest command version that it understands.
    pub command_version: u16,
}

/// The node at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it says it is. The name was compared with its certificate, except on plain TCP.
    pub identity: Identity,
    /// A number that its process drew when it started.
    pub process: u128,
    /// Where its end of the connection is.
    pub address: SocketAddr,
    /// When its certificate ends; none on plain TCP.
    pub certificate_expires_at: Option<SystemTime>,
    /// Whether both sides belong to one cluster. Raft messages are taken from such a peer only.
    pub is_member: bool,
}

/// What a connection is for, as the side that opens it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// Raft messages and requests.
    Messages,
    /// Byte streams.
    Streams,
}

/// What a side says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) identity: Identity,
    pub(crate) process: u128,
    pub(crate) purpose: Purpose,
}

/// Who is looked for at an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Expected {
    pub(crate) node: Option<NodeId>,
    pub(crate) name: Option<Name>,
}

/// What is known of the other end before it speaks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    /// Its certificate, which an authority signed; none on plain TCP.
    pub(crate) certificate: Option<Facts>,
}

impl Hello {
    /// The protocol's version comes first and in a form of its own, so that every version can read it.
    pub(crate) fn encode(&self) -> Result<Bytes, codec::Error> {
        let rest = codec::encode(self)?;
        let mut bytes = BytesMut::with_capacity(2 + rest.len());
        bytes.put_u16(PROTOCOL);
        bytes.put_slice(&rest);
        Ok(bytes.freeze())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let malformed = |reason: &str| Refusal::new(RefusalCode::Malformed, reason);
        let (protocol, rest) = bytes.split_first_chunk().ok_or_else(|| malformed("a hello without a version"))?;
        let protocol = u16::from_be_bytes(*protocol);
        if protocol != PROTOCOL {
            let reason = format!("protocol version {protocol} meets version {PROTOCOL}");
            return Err(Refusal::new(RefusalCode::OtherProtocol, reason));
        }
        codec::decode(rest).map_err(|_| malformed("a hello that cannot be decoded"))
    }

    /// Reads what the other side says first and judges it; what needs a look at other connections comes later.
    ///
    /// # Errors
    /// The refusal that the other side is to be told.
    pub(crate) fn judge(
        &self,
        said: &[u8],
        expected: &Expected,
        caller: Caller,
    ) -> Result<(Arc<Peer>, Purpose), Refusal> {
        let Self { identity, process, purpose } = Self::decode(said)?;
        let me = &self.identity;
        let refused = |code, reason: String| Err(Refusal::new(code, reason));
        if process == self.process {
            return refused(RefusalCode::Itself, format!("node {} connected to itself", me.node));
        }
        let clusters = identity.cluster.zip(me.cluster);
        if let Some((theirs, ours)) = clusters.filter(|(theirs, ours)| theirs != ours) {
            let reason = format!("{} belongs to cluster {theirs}, {} to cluster {ours}", identity.name, me.name);
            return refused(RefusalCode::OtherCluster, reason);
        }
        if caller.certificate.as_ref().is_some_and(|facts| !facts.is_for(&identity.name)) {
            let reason =
                format!("the certificate of {} does not carry {}", identity.name, certificate_name(&identity.name));
            return refused(RefusalCode::WrongName, reason);
        }
        if identity.cluster.is_some() != (identity.node != NodeId(0)) {
            return refused(RefusalCode::Malformed, format!("{} has node id {}", identity.name, identity.node));
        }
        let other_node = expected.node.is_some_and(|node| node != identity.node);
        if other_node || expected.name.as_ref().is_some_and(|name| *name != identity.name) {
            let reason = format!("node {} ({}) answers where another was looked for", identity.node, identity.name);
            return refused(RefusalCode::WrongNode, reason);
        }
        if purpose == Purpose::Streams && clusters.is_none() {
            let reason = format!("{} asks for byte streams without being in this node's cluster", identity.name);
            return refused(RefusalCode::NotMember, reason);
        }
        let peer = Peer {
            identity,
            process,
            address: caller.address,
            certificate_expires_at: caller.certificate.map(|facts| facts.expires_at),
            is_member: clusters.is_some(),
        };
        Ok((Arc::new(peer), purpose))
    }
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
