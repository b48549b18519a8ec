//! Progress of one partition.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Incarnation, RuleVersion};

/// A source message and its copy, as the last thing known to be durable at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCopy {
    /// The source queue offset of the message.
    pub source_offset: i64,
    /// The target queue offset of its copy.
    pub target_offset: i64,
}

/// Progress of one partition: never ahead of what the target holds durably.
///
/// | field | a new checkpoint of the same incarnations may |
/// |---|---|
/// | `epoch` | only equal the partition's epoch |
/// | `source_next` | stay or grow |
/// | `target_next` | stay or grow |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The ownership that made this progress.
    pub epoch: Epoch,
    /// The rules that it was made under.
    pub rule_version: RuleVersion,
    /// The first source offset that is not known to be durable at the target or left out by the filter.
    pub source_next: i64,
    /// The first target offset that a tail read has to look at: behind the last copy that is known durable, and no own
    /// copy stands between them.
    pub target_next: i64,
    /// Which life of the source queue `source_next` belongs to.
    pub source_incarnation: Incarnation,
    /// Which life of the target queue `target_next` belongs to.
    pub target_incarnation: Incarnation,
    /// Fingerprint of the source record at `source_next - 1`, to recognise a source that rolled back or was
    /// re-created; none before the first record was read.
    pub fingerprint: Option<u64>,
    /// The newest copy that is known durable; none before the first.
    pub last_copy: Option<LastCopy>,
}
