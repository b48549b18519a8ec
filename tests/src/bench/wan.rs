//! Copying between two regions with a long line between them: through the relay, and directly.
//!
//! Source and target are Apache clusters of their own. Two Causeway nodes, one in each region, reach each other over
//! long lines only, with TLS; beside them one node in the target's region copies directly from a second source cluster,
//! whose servers it reaches over long lines only. Brokers beside a node are reached without a line.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::brokers::{Access, Cluster, ClusterSettings, Version};
use crate::certificates::{Authority, NodeFiles};
use crate::long_line::LongLine;
use crate::members::{Members, name, succeeded};
use crate::process::cpu_seconds;
use crate::scenario::node::{NewStream, Node, NodeSettings};

use super::bodies::Content;
use super::contest::beside;

/// Where the far cluster's broker says that it is: there a line stands.
const ANNOUNCED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How often the target is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The longest a run may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Places of the nodes: the first one founds the cluster and leads, beside the target.
const REGIONS: [&str; 2] = ["target", "source"];

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// Queues of the topic.
    pub queues: u32,
    /// What bodies hold.
    pub content: Content,
    /// All messages of the topic.
    pub messages: u64,
    /// Bytes of a body.
    pub body: u64,
}

impl Load {
    fn topic(&self) -> String {
        format!("wan-{}-{}-{}", self.queues, self.content.word(), self.messages)
    }

    /// Fills its topic.
    ///
    /// # Panics
    /// When the loader fails.
    fn fill(&self, cluster: &Cluster) {
        let topic = self.topic();
        cluster.admin().create_topic(&topic, self.queues);
        // Batches of about thirty in each queue, a hundred times a second.
        let rate = u64::from(self.queues) * 3_000;
        let status = Command::new(beside("causeway-load"))
            .args([cluster.brokers[0].address().as_str(), &topic])
            .args([self.queues.to_string(), (self.messages / u64::from(self.queues)).to_string()])
            .args([self.body.to_string(), rate.min(48_000).to_string(), self.content.word().to_owned()])
            .status()
            .expect("the loader starts");
        assert!(status.success(), "the loader failed");
    }
}

/// What one run was.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Messages a second, from the first copy to the last.
    pub rate: f64,
    /// Bytes of bodies a second.
    pub bytes: f64,
    /// Seconds from the stream's creation to the first copy.
    pub first: f64,
    /// Processor seconds of all nodes per million messages.
    pub cpu_per_million: f64,
    /// Bytes on the lines per message, both directions.
    pub carried_per_message: f64,
}

/// Two brokers and what is measured at the second one.
struct Copying<'a> {
    target: &'a Cluster,
    load: Load,
    number: u32,
}

impl Copying<'_> {
    fn copy(&self) -> String {
        format!("copy-{}", self.number)
    }

    /// Runs one stream to its end. `spent` tells processor seconds and bytes on lines so far.
    fn run(&self, node: &Node, source: &str, mut spent: impl FnMut() -> (f64, u64)) -> Run {
        let (copy, topic, stream) = (self.copy(), self.load.topic(), format!("run-{}", self.number));
        self.target.admin().create_topic(&copy, self.load.queues);
        let mut ends = self.target.end_reader(&copy, self.load.queues);
        let (cpu_before, carried_before) = spent();
        let created = Instant::now();
        node.create_stream(&NewStream {
            name: &stream,
            source: (source, &topic),
            target: ("target", &copy),
            exact_born_timestamps: false,
        });
        let mut first = None;
        let finished = loop {
            let copied: i64 = ends.read().map(|ends| ends.values().sum()).unwrap_or(0);
            let copied = u64::try_from(copied).expect("a count");
            if copied > 0 {
                first.get_or_insert_with(Instant::now);
            }
            if copied >= self.load.messages {
                break Instant::now();
            }
            let waited = created.elapsed();
            assert!(waited < PATIENCE, "{copy} holds {copied} of {} after {waited:?}", self.load.messages);
            sleep(LOOK);
        };
        let (cpu, carried) = spent();
        let first = first.unwrap_or(finished);
        let seconds = finished.duration_since(first).max(LOOK).as_secs_f64();
        let messages = self.load.messages as f64;
        succeeded(&node.command(&["stream", "delete", &stream, "--wait", "--timeout-seconds", "60"]));
        Run {
            rate: messages / seconds,
            bytes: messages * self.load.body as f64 / seconds,
            first: first.duration_since(created).as_secs_f64(),
            cpu_per_million: (cpu - cpu_before) / messages * 1e6,
            carried_per_message: (carried - carried_before) as f64 / messages,
        }
    }
}

/// Two nodes with long lines between them.
pub struct Relay {
    members: Members,
    lines: Vec<LongLine>,
}

impl Relay {
    /// Founds the cluster; its lines have no length yet. `window` is what a connection carries in a round trip, in
    /// bytes.
    fn found(folder: &Path, window: usize, settings: &NodeSettings) -> Self {
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let authority = Authority::create(&folder.join("authority"));
        let mut lines = Vec::new();
        let members = Members::found_each(folder, &REGIONS, |place, listen| {
            let files = NodeFiles::new(&folder.join("certificates"), &name(place));
            authority.issue(&files);
            authority.trust(&files);
            let line = LongLine::start("127.0.0.1:0", window);
            line.lead_to(listen);
            let mut settings = settings.clone().text("cluster.advertise", &line.address().to_string());
            settings.keys.extend(files.settings().keys);
            lines.push(line);
            settings
        });
        Self { members, lines }
    }

    fn set_one_way(&self, time: Duration) {
        self.lines.iter().for_each(|line| line.set_one_way(time));
    }
}

/// One node beside the target, and long lines to every server of the source.
struct Direct {
    node: Node,
    lines: Vec<LongLine>,
}

/// Everything that takes part.
pub struct Wan {
    folder: PathBuf,
    window: usize,
    source: Cluster,
    target: Cluster,
    far: Option<Cluster>,
    direct: Option<Direct>,
    runs: u32,
}

impl Wan {
    /// Starts the source and the target. `window` is what a connection carries in a round trip, in bytes.
    ///
    /// # Panics
    /// When a cluster does not start.
    #[must_use]
    pub fn start(folder: &Path, window: usize) -> Self {
        let source = Cluster::start(ClusterSettings::new(Version::V5_5_0));
        let target = Cluster::start(ClusterSettings::new(Version::V5_5_0));
        Self { folder: folder.to_owned(), window, source, target, far: None, direct: None, runs: 0 }
    }

    /// Fills the topic of a load in the source that a relay reads.
    pub fn fill(&self, load: &Load) {
        load.fill(&self.source);
    }

    /// Fills it in the source that is read directly.
    pub fn fill_far(&mut self, load: &Load) {
        let far = self.far.get_or_insert_with(|| {
            Cluster::start(ClusterSettings { announced: Some(ANNOUNCED), ..ClusterSettings::new(Version::V5_5_0) })
        });
        load.fill(far);
    }

    /// Two nodes with these settings, and the two instances registered.
    #[must_use]
    pub fn relay(&self, label: &str, settings: &NodeSettings) -> Relay {
        let relay = Relay::found(&self.folder.join(label), self.window, settings);
        relay.members.node(0).register("source", &self.source.access());
        relay.members.node(0).register("target", &self.target.access());
        relay
    }

    /// Copies a load through the relay, with a line of this length.
    pub fn relayed(&mut self, relay: &mut Relay, load: Load, one_way: Duration) -> Run {
        relay.set_one_way(one_way);
        self.runs += 1;
        let copying = Copying { target: &self.target, load, number: self.runs };
        let Relay { members, lines } = relay;
        let ids: Vec<u32> = (0..members.count()).map(|place| members.node_mut(place).process().id()).collect();
        copying.run(members.node(0), "source", || {
            let cpu = ids.iter().map(|id| cpu_seconds(*id)).sum();
            (cpu, lines.iter().map(LongLine::carried).sum())
        })
    }

    /// Copies a load directly, with a line of this length between the node and the source's servers.
    ///
    /// # Panics
    /// When [`Wan::fill_far`] did not come before.
    pub fn directly(&mut self, load: Load, one_way: Duration) -> Run {
        let far = self.far.as_ref().expect("the far cluster was filled");
        if self.direct.is_none() {
            self.direct = Some(Direct::start(&self.folder.join("direct"), far, &self.target, self.window));
        }
        let direct = self.direct.as_mut().expect("it was just started");
        direct.lines.iter().for_each(|line| line.set_one_way(one_way));
        self.runs += 1;
        let copying = Copying { target: &self.target, load, number: self.runs };
        let id = direct.node.process().id();
        copying.run(&direct.node, "far", || (cpu_seconds(id), direct.lines.iter().map(LongLine::carried).sum()))
    }
}

impl Direct {
    fn start(folder: &Path, far: &Cluster, target: &Cluster, window: usize) -> Self {
        let broker = &far.brokers[0];
        let at_broker = LongLine::start(&broker.announced(), window);
        at_broker.lead_to(&broker.address());
        let mut lines = vec![at_broker];
        let mut name_servers = Vec::new();
        for server in far.name_servers() {
            let line = LongLine::start("127.0.0.1:0", window);
            line.lead_to(&server);
            name_servers.push(line.address().to_string());
            lines.push(line);
        }
        let node = Node::start(folder, &NodeSettings::default().text("node.region", "target"));
        node.register("far", &Access { name_servers, ..far.access() });
        node.register("target", &target.access());
        Self { node, lines }
    }
}
