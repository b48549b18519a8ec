//! What several resources share: lists, and what a change would do.

use causeway_core::ids::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

/// A list, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List<T> {
    /// The resources, in the order of their names.
    pub items: Vec<T>,
    /// Pass it as `after` to get what follows; none when nothing does.
    pub next: Option<String>,
}

/// Query of every list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListQuery {
    /// Begin behind this name (`BROKER/QUEUE` in lists of partitions); the `next` of the answer before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many items, 1 to 1,000; 100 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Query of every change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeQuery {
    /// Check everything and answer what would be done, but do nothing.
    pub dry_run: bool,
}

/// What a change did, or would do with `dry_run=true`. The answer of deletions, and of dry runs of a pause, a resume
/// and a new instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePlan {
    /// True when nothing was changed.
    pub dry_run: bool,
    /// One sentence for each effect, for people.
    pub effects: Vec<String>,
}

/// The answer of `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionAnswer {
    /// The version of the node's program.
    pub version: String,
    /// The newest version of the command set that the node understands.
    pub command_version: u16,
    /// The node that answers.
    pub node: NodeId,
    /// The cluster, as 16 hexadecimal digits; none before it was initialised.
    pub cluster: Option<String>,
}

impl VersionAnswer {
    /// The text form of a cluster's identifier.
    #[must_use]
    pub fn cluster_text(cluster: Option<ClusterId>) -> Option<String> {
        cluster.map(|id| id.to_string())
    }
}
