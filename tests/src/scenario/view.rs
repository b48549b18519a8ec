//! What Causeway's HTTP API says of streams and partitions, as far as tests look. Read from JSON by hand-written types:
//! the product's own would hide a change of the wire form.

use serde::Deserialize;
use serde_json::Value;

/// A source or target queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Queue {
    /// Broker name.
    pub broker: String,
    /// Queue id.
    pub queue: u32,
}

/// The agreed progress of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Checkpoint {
    /// The ownership that made it.
    pub epoch: u64,
    /// The first source offset that is not known to be durable at the target.
    pub source_next: i64,
    /// The first target offset that a tail read looks at.
    pub target_next: i64,
}

/// Live figures of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Figures {
    /// The first source offset that is not durable at the target.
    pub durable_next: Option<i64>,
    /// Copies that a dead owner wrote after its time.
    pub zombie_writes: u64,
    /// Messages written since the process started.
    pub copied_messages: u64,
    /// Messages that a slave of the source answered since the process started.
    pub slave_read_messages: u64,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Partition {
    /// The source queue.
    pub source: Queue,
    /// The queue of its copies.
    pub target: Queue,
    /// `starting`, `running`, `blocked` and so on.
    pub state: String,
    /// Why, for people.
    pub why: Option<String>,
    /// The stable code of the reason.
    pub code: Option<String>,
    /// The node that runs it.
    pub owner: Option<u64>,
    /// The number of the current ownership.
    pub epoch: u64,
    /// Agreed progress.
    pub checkpoint: Option<Checkpoint>,
    /// What it waits for a decision about.
    pub fault: Option<Value>,
    /// How often the target was found to have lost copies.
    pub rewinds: u64,
    /// Live figures.
    pub figures: Option<Figures>,
}

impl Partition {
    /// The first source offset that is not durable at the target, as far as the node says.
    pub fn durable_next(&self) -> Option<i64> {
        self.figures
            .and_then(|figures| figures.durable_next)
            .or(self.checkpoint.map(|checkpoint| checkpoint.source_next))
    }
}

/// A node of a Causeway cluster, as the node that answers knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What it shall be: `voter` or `learner`.
    pub role: String,
    /// What it is: `voter` or `learner`; none where it is no member yet.
    pub member: Option<String>,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it is the node that answers.
    pub answers: bool,
    /// `up`, `silent` or `down`, by the leader's word; none while it is not heard.
    pub liveness: Option<String>,
    /// How the node that answers reaches it: `connected`, or why not. None for that node itself.
    pub connection: Option<String>,
    /// The newest version of the command set that its build knows.
    pub command_version: u16,
    /// Partitions that it owns.
    pub partitions: usize,
    /// Partitions among them that are on their way to another node.
    pub leaving_partitions: usize,
    /// How often its process has started.
    pub starts: u64,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stream {
    /// The worst state of its partitions.
    pub state: String,
    /// Why, for people.
    pub why: Option<String>,
    /// The stable code of the reason.
    pub code: Option<String>,
    /// How many partitions it has.
    pub partitions: usize,
}

/// Takes an answer as a type.
///
/// # Panics
/// When the answer has not the documented form.
pub fn decoded<T: for<'a> Deserialize<'a>>(answer: &Value) -> T {
    T::deserialize(answer).unwrap_or_else(|error| panic!("the API's answer is not as documented ({error}): {answer:#}"))
}
