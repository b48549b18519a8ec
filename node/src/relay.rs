//! The relay: a node in the source's region reads, the owner beside the target writes, and only our own stream crosses
//! the distance between them.
//!
//! ```text
//!   source region                                            target region
//!   broker <--pulls-- serve, follow ==batches, credit==> RelaySource <--reads-- the partition's loop
//!                       leave out, pack                     '--direct pulls, where no relay works--> broker
//! ```
//!
//! A stock broker gives a few messages a pull, so pulls have to be near it; a relay gives its answers on in batches,
//! without what the stream's filter leaves out, compressed where that pays. It judges nothing and remembers nothing:
//! every read that is not plainly sound is given on as it is, and the owner looks itself, through the relay or past it.
//! What was interrupted goes on at the owner's next offset.
//!
//! Parts: [`Relays`] (how an owner reaches nodes that relay), `source` (a source that reads through them), `following`
//! (one stream of it), `way` (through a relay or past it); `serve` and `follow` (the side that relays); `wire` (what
//! travels), `packing` (compression); [`choice`] (which node relays), [`members`] (the cluster's nodes as relays).

pub mod choice;
mod figures;
mod follow;
mod following;
pub mod members;
mod origins;
mod packing;
mod serve;
pub mod settings;
pub(crate) mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod way;
mod wire;

use std::fmt;
use std::sync::Arc;

use causeway_cluster::transport::Error;
use causeway_cluster::transport::streams::{Opening, Stream};
use causeway_core::ids::{InstanceIdentity, NodeId};
use causeway_core::partition::PartitionId;

pub use figures::{Figures, Sample};
pub use origins::server;
pub use packing::Compression;
pub use settings::RelaySettings;
pub use wire::Place;

use crate::replicate::ReadAheadBudget;
use crate::status::PartitionGauge;

/// How an owner reaches the nodes that relay to it.
pub trait Relays: Send + Sync + 'static {
    /// Nodes that can relay a partition's source to this node now, the best first; none where the source is to be read
    /// directly. Must not block.
    fn relays_for(&self, source: &Place, partition: &PartitionId) -> Vec<NodeId>;

    /// Opens a byte stream that the node serves.
    ///
    /// # Errors
    /// Those of [`causeway_cluster::transport::Transport::open_stream`].
    fn open(&self, node: NodeId, opening: Opening) -> Result<Stream, Error>;
}

/// What relayed reading shares with the rest of the node.
#[derive(Clone)]
pub struct Relaying {
    /// The nodes that relay.
    pub relays: Arc<dyn Relays>,
    /// The windows of all streams of the node: bytes that are on their way to it or wait here. A stream that is opened
    /// always gets [`RelaySettings::first_window_bytes`], and more only while there is room.
    pub windows: Arc<ReadAheadBudget>,
    /// Sizes and waits.
    pub settings: RelaySettings,
    /// What happened.
    pub figures: Arc<Figures>,
}

/// A relayed source of one partition.
#[derive(Clone)]
pub struct RelayedSource {
    /// What it shares with the rest of the node.
    pub relaying: Relaying,
    /// Which queue of which instance.
    pub place: Place,
    /// The partition.
    pub partition: PartitionId,
    /// Shows by which path it is read.
    pub gauge: Arc<PartitionGauge>,
    /// What is left out where it is read; tag expression and target, as the stream has them.
    pub tag_expression: String,
    /// Messages that have passed this instance are loops.
    pub target: InstanceIdentity,
    /// How many messages a pull asks for.
    pub pull_messages: u32,
}

impl fmt::Debug for RelayedSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RelayedSource").field("place", &self.place).finish_non_exhaustive()
    }
}
