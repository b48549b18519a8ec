//! Resident memory with many partitions that all have a backlog.

use crate::brokers::Cluster;
use crate::scenario::node::{NewStream, Node, NodeSettings};

use super::contest::Arena;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Partitions of the stream.
    pub partitions: u32,
    /// Messages that were copied.
    pub messages: u64,
    /// MiB before the stream was created.
    pub idle_mib: f64,
    /// The largest that was seen while copying, in MiB.
    pub peak_mib: f64,
    /// MiB after everything was copied.
    pub after_mib: f64,
}

/// Copies a topic of `partitions` queues that holds `messages` and watches the process.
#[must_use]
pub fn measure(cluster: &Cluster, folder: &std::path::Path, topic: &str, partitions: u32, messages: u64) -> Memory {
    let target = format!("{topic}-copy");
    cluster.admin().create_topic(&target, partitions);
    let mut node = Node::start(&folder.join("memory"), &NodeSettings::default());
    node.register("source", &cluster.access());
    node.register("target", &cluster.access());
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let idle_mib = mib(node.process().resident_bytes());
    node.create_stream(&NewStream {
        name: "memory",
        source: ("source", topic),
        target: ("target", &target),
        exact_born_timestamps: false,
    });
    let arena = Arena { cluster, queues: partitions, folder };
    let (_, peak_mib) = arena.watch(&mut node, &target, messages);
    let after_mib = mib(node.process().resident_bytes());
    node.stop();
    Memory { partitions, messages, idle_mib, peak_mib, after_mib }
}
