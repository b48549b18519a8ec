//! A stream: one source topic -> filter -> transform -> one target topic, with its run options.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, RuleVersion, StreamId, Timestamp};
use crate::name::Name;

/// One end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The instance's name.
    pub instance: Name,
    /// The topic's name there.
    pub topic: String,
}

/// Where copying begins in a source queue that has no checkpoint yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartPosition {
    /// At the oldest message that the broker retains.
    Earliest,
    /// After the newest message at the time the partition first runs.
    Latest,
    /// At the first message stored at or after this time (the source broker's store time, ms since 1970).
    Timestamp(i64),
    /// At this queue offset, in every queue of the topic.
    Offset(i64),
}

/// What happens to the born timestamp, of which a batch carries only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BornTimestamp {
    /// Full batches; a batch carries its first message's, and each message's own is in its provenance.
    #[default]
    Carried,
    /// A batch ends where the born timestamp changes, so every copy has its own; costs throughput.
    Exact,
}

/// Which acknowledgement of the target lets a checkpoint advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Only a full SUCCESS; FLUSH_DISK_TIMEOUT, FLUSH_SLAVE_TIMEOUT and SLAVE_NOT_AVAILABLE hold the checkpoint back
    /// until a later SUCCESS of the same broker covers them.
    #[default]
    Confirmed,
    /// Stored on the master is enough.
    Stored,
}

/// When a source's slave may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlaveReads {
    /// Only while the master is gone and the slave serves.
    #[default]
    MasterGone,
    /// Also when the master suggests its slave because the wanted messages are no longer in its memory.
    ColdCatchUp,
    /// Never.
    Never,
}

/// Run options of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunOptions {
    /// What happens to born timestamps.
    pub born_timestamp: BornTimestamp,
    /// Which acknowledgement lets a checkpoint advance.
    pub durability: Durability,
    /// When the source's slaves may be read.
    pub slave_reads: SlaveReads,
}

/// What an operator says of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Its name.
    pub name: Name,
    /// Where messages come from.
    pub source: Endpoint,
    /// Where copies go.
    pub target: Endpoint,
    /// Where copying begins.
    pub start: StartPosition,
    /// RocketMQ tag expression: `*`, or tags joined by `||`.
    pub tag_expression: String,
    /// Run options.
    pub run: RunOptions,
}

impl StreamSpec {
    /// Whether some message may pass this filter and the other one's, both being good expressions.
    #[must_use]
    pub fn shares_a_tag_with(&self, other: &Self) -> bool {
        match (tags(&self.tag_expression), tags(&other.tag_expression)) {
            (Some(mine), Some(others)) => !mine.is_disjoint(&others),
            _ => true,
        }
    }
}

/// The tags of an expression; none where it stands for every message.
fn tags(expression: &str) -> Option<BTreeSet<&str>> {
    let trimmed = expression.split("||").map(|part| part.trim_matches(|c: char| c <= ' '));
    let tags: BTreeSet<&str> = trimmed.filter(|tag| !tag.is_empty()).collect();
    (!tags.is_empty() && !tags.contains("*")).then_some(tags)
}

/// What the operator wants of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    /// Copy.
    Running,
    /// Keep everything, copy nothing.
    Paused,
}

/// A stream that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its identifier, in provenance together with the cluster's.
    pub id: StreamId,
    /// What the operator said.
    pub spec: StreamSpec,
    /// Raised when copying begins again from a new position.
    pub generation: Generation,
    /// Raised when filter or transform change.
    pub rule_version: RuleVersion,
    /// What the operator wants.
    pub desired: DesiredState,
    /// Raised at each change; `If-Match` compares it.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub changed_at: Timestamp,
}
