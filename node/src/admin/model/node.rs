//! Nodes of the cluster, and what is asked of the cluster itself.

use causeway_core::ids::{NodeId, Timestamp};
use causeway_core::name::Name;
use causeway_core::node::MemberRole;
use causeway_core::partition::QueueId;
use serde::{Deserialize, Serialize};

use crate::status::node::{NodeFigures, NodeLiveness};

/// A node, as the node that answers knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its number, never used again.
    pub id: NodeId,
    /// Its name.
    pub name: Name,
    /// Its region label.
    pub region: Name,
    /// Where other nodes reach it; none for a node that is alone.
    pub address: Option<String>,
    /// What it is asked to be.
    pub role: MemberRole,
    /// What it is in the Raft group now; none where it is no member yet.
    pub member: Option<MemberRole>,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it is the node that answers.
    pub answers: bool,
    /// `up`, `silent` (it may still hold a lease) or `down`, by the leader's word; none while it is not heard, and
    /// while a new leader had no time to hear the node.
    pub liveness: Option<NodeLiveness>,
    /// Log entries that it lacks, by the leader's word; none while it is not heard.
    pub behind_entries: Option<u64>,
    /// How the node that answers reaches it: `connected`, or why not. None for that node itself.
    pub connection: Option<String>,
    /// Whether its partitions are to go elsewhere.
    pub draining: bool,
    /// Whether they are, because its process is about to end.
    #[serde(default)]
    pub leaving: bool,
    /// Partitions that it runs.
    pub partitions: usize,
    /// Partitions among them that are on their way to another node.
    pub leaving_partitions: usize,
    /// Partitions of other nodes that are on their way to it.
    #[serde(default)]
    pub arriving_partitions: usize,
    /// The newest version of the command set that its build knows.
    pub command_version: u16,
    /// How often its process has started.
    pub starts: u64,
    /// When it started last; when it was let in before its first start.
    pub started_at: Timestamp,
    /// What it says of itself; none where it said nothing within the last three seconds.
    #[serde(default)]
    pub figures: Option<NodeFigures>,
}

/// A node as it is behind a change of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedNode {
    /// The node.
    #[serde(flatten)]
    pub node: NodeView,
    /// What the change brings about that may not be wanted; left out where there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A partition that is on its way from one living node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveView {
    /// The stream.
    pub stream: Name,
    /// The source queue.
    pub source: QueueId,
    /// Who owns it until it has let go of it.
    pub from: NodeId,
    /// Who will own it then.
    pub to: NodeId,
}

/// The answer of `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeList {
    /// The nodes, in the order of their numbers. One whose `member` is none is to be made a member.
    pub items: Vec<NodeView>,
    /// Always none: a cluster has few nodes.
    pub next: Option<String>,
    /// Members of the Raft group that are no nodes of the cluster, or none yet as far as the node that answers knows.
    /// They are taken out; one whose vote counts still is needed for a majority.
    #[serde(default)]
    pub strange_members: Vec<StrangeMember>,
    /// Why the node that answers is no member of the cluster any more; none while nothing says so.
    #[serde(default)]
    pub removed: Option<String>,
}

/// A member of the Raft group that is no node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangeMember {
    /// Its number.
    pub id: NodeId,
    /// What it is in the Raft group.
    pub member: MemberRole,
    /// Whether it leads.
    pub leader: bool,
    /// Log entries that it lacks, by the leader's word; none while it is not heard.
    pub behind_entries: Option<u64>,
    /// How the node that answers reaches it: `connected`, or why not. None where it does not look for it.
    pub connection: Option<String>,
}

/// Body of `POST /v1/cluster/join-tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueJoinToken {
    /// What the node that shows it shall be; a voter when left out.
    #[serde(default)]
    pub role: MemberRole,
    /// How long it is good for, 60 to 604,800; an hour when left out.
    #[serde(default = "an_hour")]
    pub valid_seconds: u64,
}

fn an_hour() -> u64 {
    3_600
}

/// A join token, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenAnswer {
    /// The token. It is kept nowhere.
    pub token: String,
    /// What the node that shows it will be.
    pub role: MemberRole,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Where members listen for it: any of them will do.
    pub members: Vec<String>,
}

impl std::fmt::Debug for JoinTokenAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("JoinTokenAnswer").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Query of `GET /v1/cluster/backup`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupQuery {
    /// Take what the node that answers has applied, without a majority's word that nothing newer is agreed on.
    pub stale: bool,
}

/// Body of `POST /v1/cluster/leader`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferLeader {
    /// Who shall lead; the voter that lacks least when left out.
    pub to: Option<Name>,
}
