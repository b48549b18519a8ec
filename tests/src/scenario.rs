//! A source cluster, a target cluster, a Causeway process and one stream between them, as one value.
//!
//! Reading order: [`Scenario`] (start to verdict), [`node`] (the process and its API), [`view`] (what the API answers),
//! [`provenance`] (the second judge beside the checker), [`markdown`] (reports). The product is used as a process only.

pub mod build;
pub mod markdown;
pub mod node;
pub mod provenance;
pub mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::brokers::{Cluster, ClusterSettings};
use crate::checker::{self, Rules};
use crate::java;
use node::{NewStream, Node, NodeSettings};
use provenance::Findings;
use view::Queue;

/// The longest wait for copying to go on or to be done.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The stream, the source topic and the target topic of a [`Scenario`].
pub const NAME: &str = "orders";

/// A topic at a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Topic<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// Its name.
    pub name: &'a str,
    /// Its queues on each master.
    pub queues: u32,
}

/// Two clusters, a node, and one stream from the topic [`NAME`] to a topic of the same name.
#[derive(Debug)]
pub struct Scenario {
    /// The node. It is dropped first, so that it never sees its clusters end.
    pub node: Node,
    /// Where messages come from; registered as instance `source`.
    pub source: Cluster,
    /// Where copies go; registered as instance `target`.
    pub target: Cluster,
    queues: u32,
    folder: Option<TempDir>,
}

/// What both judges say of a copy.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The checker's report.
    pub report: checker::Report,
    /// What provenance says.
    pub findings: Findings,
}

impl Verdict {
    /// Whether nothing is lost, doubled, reordered or altered.
    pub fn is_good(&self) -> bool {
        self.report.identical_topics && self.findings.problems.is_empty() && self.report.source_messages > 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { copies, epochs, with_original, problems } = &self.findings;
        writeln!(out, "{}provenance of {copies} copies, {epochs} epochs, {with_original} with originals", self.report)?;
        problems.iter().try_for_each(|problem| writeln!(out, "  {problem}"))
    }
}

impl Scenario {
    /// Starts both clusters and a node, creates the source topic, and creates the stream with carried born timestamps.
    pub fn start(source: ClusterSettings, target: ClusterSettings, queues: u32, settings: &NodeSettings) -> Self {
        let folder = tempfile::Builder::new().prefix("causeway-scenario-").tempdir().unwrap();
        let source = Cluster::start(ClusterSettings { name: "source".to_owned(), ..source });
        let target = Cluster::start(ClusterSettings { name: "target".to_owned(), ..target });
        source.admin().create_topic(NAME, queues);
        let node = Node::start(&folder.path().join("node"), settings);
        node.register("source", &source.access());
        node.register("target", &target.access());
        let (source_topic, target_topic) = (("source", NAME), ("target", NAME));
        node.create_stream(&NewStream {
            name: NAME,
            source: source_topic,
            target: target_topic,
            exact_born_timestamps: false,
        });
        let scenario = Self { node, source, target, queues, folder: Some(folder) };
        scenario.node.wait_stream(NAME, "known with its queues", |stream| stream.partitions > 0);
        scenario
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("the folder lives as long as the scenario").path()
    }

    /// The source topic.
    pub fn source_topic(&self) -> Topic<'_> {
        Topic { cluster: &self.source, name: NAME, queues: self.queues }
    }

    /// The target topic.
    pub fn target_topic(&self) -> Topic<'_> {
        Topic { cluster: &self.target, name: NAME, queues: self.queues }
    }

    /// Waits until everything that the source holds is durable at the target.
    pub fn wait_caught_up(&self) {
        wait_caught_up(&self.node, NAME, self.source_topic(), self.target_topic());
    }

    /// Reads both topics back with Apache's client and lets both judges compare them. Born timestamps are judged by
    /// provenance, since the stream carries them there.
    pub fn judge(&self) -> Verdict {
        let rules = Rules { born_timestamp: false, ..copy_rules() };
        judge(self.source_topic(), self.target_topic(), &self.folder().join("dumps"), &rules)
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("--- the node's files are kept in {}", folder.keep().display());
        }
    }
}

/// The checker's rules for a copy that Causeway made.
pub fn copy_rules() -> Rules {
    let mut rules = Rules::copy(&[provenance::PROPERTY]);
    rules.overwritten.insert(provenance::ORIGINAL.to_owned());
    rules
}

/// Where each queue of a topic ends.
pub fn ends(topic: Topic<'_>) -> BTreeMap<Queue, i64> {
    let mut ends = BTreeMap::new();
    for (place, broker) in topic.cluster.brokers.iter().enumerate() {
        for queue in 0..topic.queues {
            let end = topic.cluster.admin().maximum_offset(place, topic.name, queue);
            ends.insert(Queue { broker: broker.name().to_owned(), queue }, end);
        }
    }
    ends
}

/// How many messages a topic received.
pub fn total(topic: Topic<'_>) -> i64 {
    ends(topic).values().sum()
}

/// Waits until the node says of every source queue that all of it is durable, and the target has that many messages.
///
/// # Panics
/// When a partition waits for a decision, or it takes too long without any progress; the message says where it stands.
pub fn wait_caught_up(node: &Node, stream: &str, source: Topic<'_>, target: Topic<'_>) {
    let mut deadline = Instant::now() + PATIENCE;
    let mut best = -1;
    loop {
        let wanted = ends(source);
        let partitions = node.partitions(stream);
        if let Some(faulted) = partitions.iter().find(|partition| partition.fault.is_some()) {
            panic!("a partition of {stream} waits for a decision: {faulted:#?}");
        }
        let durable: BTreeMap<&Queue, i64> =
            partitions.iter().filter_map(|partition| Some((&partition.source, partition.durable_next()?))).collect();
        // Nothing need be known of a queue that never had a message.
        let behind: Vec<_> =
            wanted.iter().filter(|(queue, end)| durable.get(queue).copied().unwrap_or(0) != **end).collect();
        let copied = total(target);
        if behind.is_empty() && copied >= wanted.values().sum() {
            return;
        }
        let sum = copied + durable.values().sum::<i64>();
        if sum > best {
            (best, deadline) = (sum, Instant::now() + PATIENCE);
        }
        assert!(
            Instant::now() < deadline,
            "no progress of {stream} for {PATIENCE:?}: {copied} of {} copied, behind {behind:?}, {partitions:#?}",
            wanted.values().sum::<i64>()
        );
        sleep(Duration::from_millis(50));
    }
}

/// Dumps both topics into `folder` and compares them.
pub fn judge(source: Topic<'_>, target: Topic<'_>, folder: &Path, rules: &Rules) -> Verdict {
    let (from, to) = (dump(source, folder, "source"), dump(target, folder, "target"));
    judge_dumps(&from, &to, source.name, rules)
}

/// Reads a topic back with Apache's client.
pub fn dump(topic: Topic<'_>, folder: &Path, name: &str) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(format!("{name}.jsonl"));
    java::dump(&topic.cluster.access(), topic.name, &path);
    path
}

/// Lets both judges compare two dumps.
pub fn judge_dumps(source: &Path, target: &Path, topic: &str, rules: &Rules) -> Verdict {
    let report =
        checker::compare(source, target, rules).unwrap_or_else(|error| panic!("the dumps cannot be compared: {error}"));
    let findings = provenance::check(source, target, topic, 1);
    Verdict { report, findings: findings.unwrap_or_else(|error| panic!("the dumps cannot be read: {error}")) }
}
