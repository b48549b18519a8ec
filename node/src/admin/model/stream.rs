//! Streams: created, planned, shown.

use std::collections::BTreeMap;

use causeway_core::ids::{Generation, RuleVersion, StreamId, Timestamp};
use causeway_core::name::Name;
use causeway_core::stream::{
    BornTimestamp, DesiredState, Durability, RunOptions, SlaveReads, StartPosition, Stream, StreamSpec,
};
use serde::{Deserialize, Serialize};

use super::instance::Finding;
use super::status::{ConditionView, StreamFigures};
use crate::status::RunState;

/// The body of `POST /v1/streams`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateStream {
    /// Its name.
    pub name: String,
    /// Where messages come from.
    pub source: SourceSettings,
    /// Where copies go.
    pub target: TargetSettings,
    /// Run options.
    #[serde(default)]
    pub run: RunSettings,
}

/// Where messages come from, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The instance's name.
    pub instance: String,
    /// The topic there.
    pub topic: String,
    /// `"earliest"`, `"latest"`, `{"timestamp": <ms>}` (store time at the source) or `{"offset": <queue offset>}`;
    /// `"latest"` when left out.
    #[serde(default = "default_start")]
    pub start: StartPosition,
    /// Which messages are copied; all when left out.
    #[serde(default)]
    pub filter: FilterSettings,
}

fn default_start() -> StartPosition {
    StartPosition::Latest
}

/// Which messages are copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterSettings {
    /// RocketMQ tag expression: `*`, or tags joined by `||`.
    pub tag: String,
}

impl Default for FilterSettings {
    fn default() -> Self {
        Self { tag: "*".to_owned() }
    }
}

/// Where copies go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    /// The instance's name.
    pub instance: String,
    /// The topic there; created with the source's queues when it does not exist.
    pub topic: String,
}

/// Run options; each has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSettings {
    /// `carried` (full batches; the original is kept in the provenance) or `exact` (batches end where it changes).
    pub born_timestamp: BornTimestamp,
    /// `confirmed` (only a full SUCCESS lets the checkpoint advance) or `stored` (on the master is enough).
    pub durability: Durability,
    /// `master_gone`, `cold_catch_up` or `never`.
    pub slave_reads: SlaveReads,
}

impl From<RunSettings> for RunOptions {
    fn from(settings: RunSettings) -> Self {
        let RunSettings { born_timestamp, durability, slave_reads } = settings;
        Self { born_timestamp, durability, slave_reads }
    }
}

impl From<&RunOptions> for RunSettings {
    fn from(options: &RunOptions) -> Self {
        let RunOptions { born_timestamp, durability, slave_reads } = *options;
        Self { born_timestamp, durability, slave_reads }
    }
}

impl From<&StreamSpec> for CreateStream {
    fn from(spec: &StreamSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            source: SourceSettings {
                instance: spec.source.instance.to_string(),
                topic: spec.source.topic.clone(),
                start: spec.start,
                filter: FilterSettings { tag: spec.tag_expression.clone() },
            },
            target: TargetSettings { instance: spec.target.instance.to_string(), topic: spec.target.topic.clone() },
            run: RunSettings::from(&spec.run),
        }
    }
}

/// A stream, as lists and `GET /v1/streams/NAME` show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamView {
    /// Its name.
    pub name: Name,
    /// Its identifier.
    pub id: StreamId,
    /// Where messages come from.
    pub source: SourceSettings,
    /// Where copies go.
    pub target: TargetSettings,
    /// Run options.
    pub run: RunSettings,
    /// What the operator wants: `running` or `paused`.
    pub desired: DesiredState,
    /// What it does: the worst state of its partitions.
    #[serde(flatten)]
    pub condition: ConditionView,
    /// How many partitions it has.
    pub partitions: usize,
    /// How many of them are in each state.
    pub partition_states: BTreeMap<RunState, usize>,
    /// Live figures.
    pub figures: StreamFigures,
    /// How often it was told to copy again.
    pub generation: Generation,
    /// Raised when its rules change.
    pub rule_version: RuleVersion,
    /// Raised at each change; also the `ETag`.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub changed_at: Timestamp,
}

impl StreamView {
    /// Puts what was agreed about a stream and what is known of it together.
    #[must_use]
    pub fn new(
        stream: &Stream,
        condition: ConditionView,
        partition_states: BTreeMap<RunState, usize>,
        figures: StreamFigures,
    ) -> Self {
        let CreateStream { name: _, source, target, run } = CreateStream::from(&stream.spec);
        Self {
            name: stream.spec.name.clone(),
            id: stream.id,
            source,
            target,
            run,
            desired: stream.desired,
            condition,
            partitions: partition_states.values().sum(),
            partition_states,
            figures,
            generation: stream.generation,
            rule_version: stream.rule_version,
            version: stream.version,
            created_at: stream.created_at,
            changed_at: stream.changed_at,
        }
    }
}

/// The answer of `POST /v1/streams?dry_run=true`: what the stream would do. Nothing is changed anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// The stream with every default filled in.
    pub stream: CreateStream,
    /// What would be copied.
    pub would_copy: CopyPlan,
    /// The topic that would be created at the target; none where it exists.
    pub would_create: Option<TopicPlan>,
    /// What will bite, such as a smaller message limit at the target.
    pub findings: Vec<Finding>,
}

/// What would be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyPlan {
    /// The source queues.
    pub queues: Vec<QueuePlan>,
    /// Messages that the source retains in all queues; none where a queue did not tell.
    pub retained_messages: Option<u64>,
    /// Store time of the oldest of them; none where the source does not tell.
    pub retained_since: Option<Timestamp>,
    /// Messages that are behind the start position, before the filter; none where a queue did not tell.
    pub messages_to_copy: Option<u64>,
}

/// One source queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePlan {
    /// The broker's name.
    pub broker: String,
    /// The queue's number on that broker.
    pub queue: u32,
    /// Its oldest offset.
    pub minimum_offset: Option<i64>,
    /// One past its newest offset.
    pub maximum_offset: Option<i64>,
    /// Where copying would begin.
    pub start_offset: Option<i64>,
}

/// A topic that would be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPlan {
    /// The instance.
    pub instance: Name,
    /// The topic.
    pub topic: String,
    /// Queues on each master broker; none where the source topic, whose count it follows, is not known.
    pub queues: Option<u32>,
}
