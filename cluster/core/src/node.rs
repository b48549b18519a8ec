//! Nodes of the cluster, and how a new one gets in.
//!
//! ```text
//!  IssueJoinToken        AdmitNode              StartNode (each start of its process)
//! ----------------> token ---------> admitted ---------> started
//!              (lets in one node)        |  SetRole, SetDraining  |
//!                                        +------- RemoveNode -----+-----> gone; its id is never given out again
//! ```
//!
//! The state says what the operator wants of a node; Raft's own membership follows it one step at a time, from the
//! first start on ([`crate::plan::next_member_change`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Timestamp};
use crate::name::Name;
use crate::plan::{Liveness, may_take};

/// The longest address of a node, in bytes: a DNS name and a port.
pub const MAXIMUM_ADDRESS_BYTES: usize = 261;

/// How many join tokens may wait to be used.
pub const MAXIMUM_JOIN_TOKENS: usize = 64;

/// How many nodes a cluster may have.
pub const MAXIMUM_NODES: usize = 64;

/// What a node is asked to be in the Raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Its word counts for decisions.
    #[default]
    Voter,
    /// Holds the whole state and runs partitions, decides nothing.
    Learner,
}

impl fmt::Display for MemberRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Voter => "voter",
            Self::Learner => "learner",
        })
    }
}

/// One start of a node's process. Two living processes of one id are told apart by it.
///
/// The upper half counts the starts of the node, as its data directory does; the lower half is random. Builds that knew
/// no version 4 of the command set drew all of it: their upper halves lie above every count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub u128);

impl ProcessId {
    /// The bits of the random half.
    const RANDOM_BITS: u32 = 64;

    /// No node starts so often. Of random upper halves, one in 2^32 lies below.
    const COUNTS_END: u128 = 1 << 32;

    /// The process of the start of this number.
    #[must_use]
    pub fn new(starts: u64, random: u64) -> Self {
        Self(u128::from(starts) << Self::RANDOM_BITS | u128::from(random))
    }

    fn starts(self) -> Option<u128> {
        Some(self.0 >> Self::RANDOM_BITS).filter(|starts| *starts < Self::COUNTS_END)
    }

    /// Whether this process is known to have started before another one of the same node.
    #[must_use]
    pub fn is_before(self, other: Self) -> bool {
        self.starts().zip(other.starts()).is_some_and(|(own, others)| own < others)
    }
}

/// A node that belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name; no two nodes share one.
    pub name: Name,
    /// Its region label.
    pub region: Name,
    /// Where other nodes reach it, `host:port`; none for a node that is alone.
    pub address: Option<String>,
    /// What it is asked to be.
    pub role: MemberRole,
    /// Whether its partitions are to go elsewhere, because an operator said so.
    pub draining: bool,
    /// Whether they are, because its process is about to end; until its next start.
    pub leaving: bool,
    /// The newest version of the command set that its build knows.
    pub supports: u16,
    /// Its latest process.
    pub process: ProcessId,
    /// How often its process has started.
    pub starts: u64,
    /// When it last started; when it was admitted before its first start.
    pub started_at: Timestamp,
    /// The hash of the join token that let it in; none for the node that founded the cluster.
    pub admitted_by: Option<[u8; 32]>,
}

impl Node {
    /// Whether it may be given partitions, as far as it is concerned.
    #[must_use]
    pub fn takes_partitions(&self) -> bool {
        may_take(self.draining, self.leaving, Liveness::Up)
    }
}

/// What a node says of itself when it is admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its name.
    pub name: Name,
    /// Its region label.
    pub region: Name,
    /// Where other nodes reach it, `host:port`; none for a node that is alone.
    pub address: Option<String>,
    /// The newest version of the command set that its build knows.
    pub supports: u16,
}

/// A permission to join: for one node, until its first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// What the node that uses it shall be.
    pub role: MemberRole,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// How the ownership before the current one ended: it decides what a new owner waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Predecessor {
    /// Nobody ever wrote.
    #[default]
    Nobody,
    /// It let go with nothing on its way: the target holds exactly what the checkpoint says.
    Released(NodeId),
    /// It ended without a word, or went on under another epoch: something of it may still be on its way.
    Ended(NodeId),
}
