//! Nothing lost, doubled or reordered while nodes of a cluster die, stand still, leave and come back, and how long
//! copying stops each time.
//!
//! Numbered messages arrive at a steady rate over eight queues between two Apache clusters, which stay up. Reading
//! order: [`FailoverPlan`] and [`Event`] (what will happen), [`run`], [`course`] (how it is done), [`stops`] (how it is
//! measured), [`report`] (what happened).

mod course;
pub mod report;
pub mod stops;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::brokers::{Cluster, ClusterSettings, Version};
use crate::java::{self, Numbered};
use crate::members::{Members, name};
use crate::scenario::node::{NewStream, NodeSettings};
use crate::scenario::view::Queue;
use crate::scenario::{self, NAME, Topic, copy_rules};
use course::Course;
pub use report::{FailoverReport, Happening};
use stops::Watch;

use crate::checker::Rules;

/// How long copying may stop when the owner of a partition is lost: a lease and its margin, or an election and a lease,
/// then what may be on its way and the target's tail. On a quiet machine that is about five seconds.
pub const LOST: Duration = Duration::from_secs(10);

/// How long copying may stop when a partition moves because somebody asked for it, or asked its node to end.
pub const PLANNED: Duration = Duration::from_secs(2);

/// How long copies may still arrive when a quorum is lost: a lease, and what was sent in its last moment.
pub const LEASE: Duration = Duration::from_secs(3);

/// What happens to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Nothing: what the machine itself does to copying.
    Nothing,
    /// The node that owns most partitions is killed, one that does not lead where there is one.
    KillOwner,
    /// The same, and it is started again at once.
    KillAndStart,
    /// The leader is killed.
    KillLeader,
    /// The owner of most partitions stands still for eight seconds and goes on.
    PauseOwner,
    /// The leader stands still for eight seconds and goes on.
    PauseLeader,
    /// All nodes but one are killed; after a while one of them is started.
    LoseQuorum,
    /// The node at this place is asked to end and started again.
    Restart(usize),
    /// The same, and it is started with the newer build.
    Upgrade(usize),
    /// A node's partitions are moved away.
    Drain(usize),
    /// A node is given partitions again.
    Undrain(usize),
    /// Another node is asked to lead.
    TransferLeader,
    /// A node that was killed is started again, and partitions may move to it.
    ComeBack,
}

impl Event {
    /// How long copying of one partition may stop; none where it has to.
    fn limit(self) -> Option<Duration> {
        match self {
            Self::KillOwner | Self::KillAndStart | Self::KillLeader | Self::PauseOwner | Self::PauseLeader => {
                Some(LOST)
            }
            // From when a quorum is there again.
            Self::LoseQuorum => Some(LOST),
            Self::Restart(_)
            | Self::Upgrade(_)
            | Self::Drain(_)
            | Self::Undrain(_)
            | Self::TransferLeader
            | Self::ComeBack => Some(PLANNED),
            Self::Nothing => None,
        }
    }

    /// Whether an event that changes no ownership proves nothing.
    fn has_to_strike(self) -> bool {
        matches!(self, Self::KillOwner | Self::KillAndStart | Self::PauseOwner | Self::LoseQuorum)
    }
}

/// What will happen.
#[derive(Debug, Clone)]
pub struct FailoverPlan {
    /// The source's release.
    pub source: Version,
    /// The target's release.
    pub target: Version,
    /// The region of each node; the target's is `target`, and owners stand there while a node does.
    pub regions: Vec<&'static str>,
    /// Queues of the topic.
    pub queues: u32,
    /// Messages per second over all queues.
    pub rate: u64,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Whether each event waits until every node beside the target has partitions. They are evened out only when
    /// nothing has happened for a while.
    pub evens_out: bool,
    /// Chooses the moments of the events and the node that survives the loss of a quorum.
    pub seed: u64,
    /// What the nodes are built from; none for the build under test, which [`Event::Upgrade`] cannot follow.
    pub builds: Option<Builds>,
}

/// Two builds of the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builds {
    /// The binary that nodes begin with.
    pub old: PathBuf,
    /// The binary that [`Event::Upgrade`] starts them with.
    pub new: PathBuf,
}

impl FailoverPlan {
    /// The short form: an owner is killed, an owner stands still, the leader is killed.
    pub fn short() -> Self {
        Self {
            source: Version::V4_9_7,
            target: Version::V5_5_0,
            regions: vec!["source", "target", "target"],
            queues: 8,
            rate: 1_000,
            events: vec![Event::KillOwner, Event::PauseOwner, Event::KillLeader],
            evens_out: false,
            seed: 1,
            builds: None,
        }
    }

    /// A rolling upgrade of three nodes.
    pub fn upgrade(source: Version, target: Version, builds: Builds, seed: u64) -> Self {
        let regions = vec!["target"; 3];
        let mut events = vec![Event::Nothing];
        events.extend((0..regions.len()).map(Event::Upgrade));
        events.push(Event::Nothing);
        let builds = Some(builds);
        Self { source, target, regions, rate: 500, events, evens_out: true, seed, builds, ..Self::short() }
    }

    /// The long form: everything, `rounds` times.
    pub fn long(source: Version, target: Version, regions: &[&'static str], rounds: usize, seed: u64) -> Self {
        let places = 0..regions.len();
        let mut round = vec![Event::Nothing, Event::KillOwner, Event::PauseOwner, Event::KillLeader];
        round.extend([Event::KillAndStart, Event::PauseLeader, Event::LoseQuorum, Event::TransferLeader]);
        round.extend(places.clone().map(Event::Restart));
        round.extend(places.flat_map(|place| [Event::Drain(place), Event::Undrain(place)]));
        let events = std::iter::repeat_n(round, rounds).flatten().collect();
        // Reading everything back takes longer than copying it.
        Self { source, target, regions: regions.to_vec(), rate: 500, events, evens_out: true, seed, ..Self::short() }
    }
}

/// Lets everything happen and judges the result.
pub fn run(plan: &FailoverPlan, progress: &mut dyn FnMut(&str)) -> FailoverReport {
    let started = Instant::now();
    let source = Cluster::start(ClusterSettings { name: "source".to_owned(), ..ClusterSettings::new(plan.source) });
    let target = Cluster::start(ClusterSettings { name: "target".to_owned(), ..ClusterSettings::new(plan.target) });
    source.admin().create_topic(NAME, plan.queues);
    progress("both clusters run");
    let mut members = Kept::new("causeway-failover-");
    let path = members.path();
    let binary = plan.builds.as_ref().map(|builds| builds.old.clone());
    let settings = NodeSettings { binary, ..NodeSettings::default() };
    let nodes = members.members.insert(Members::found(&path.join("nodes"), &plan.regions, &settings));
    progress(&format!("{} nodes are one cluster", nodes.count()));
    let target_of = create_stream(nodes, &source, &target);
    let numbered = Numbered { rate: plan.rate, batch: 4, deadline: 7_200, ..Numbered::new(plan.rate * 7_200) };
    let mut producer = java::start_numbered(&source.access(), NAME, &numbered, &path.join("producer.log"));
    let watch = Watch::start(source.end_reader(NAME, plan.queues), target.end_reader(NAME, plan.queues), target_of);
    let mut course = Course::new(plan, nodes, watch);
    for event in &plan.events {
        assert!(producer.ended().is_none(), "the producer has ended:\n{}", producer.log_tail(40));
        course.let_happen(*event, progress);
    }
    let happenings = course.end();
    producer.terminate(Duration::from_secs(30));
    progress("no more messages; waiting until all are copied");
    let from = Topic { cluster: &source, name: NAME, queues: plan.queues };
    let to = Topic { cluster: &target, name: NAME, queues: plan.queues };
    scenario::wait_caught_up(nodes.any(), NAME, from, to);
    let partitions = nodes.partitions(NAME);
    let zombies = partitions.values().filter_map(|partition| partition.figures).map(|figures| figures.zombie_writes);
    let zombies = zombies.sum();
    let rewinds = partitions.values().map(|partition| partition.rewinds).sum();
    let unclean = nodes.running().into_iter().filter(|place| !nodes.stop(*place).success()).map(name).collect();
    let complaints = complaints(nodes);
    let rules = Rules { born_timestamp: false, ..copy_rules() };
    let verdict = scenario::judge(from, to, &path.join("dumps"), &rules);
    progress(&verdict.to_string());
    let seconds = started.elapsed().as_secs();
    let report =
        FailoverReport { plan: plan.clone(), happenings, verdict, zombies, rewinds, unclean, complaints, seconds };
    if !report.failures().is_empty() {
        members.keep();
    }
    report
}

/// Registers both clusters and creates the stream; answers with the target queue of each source queue.
pub(crate) fn create_stream(members: &Members, source: &Cluster, target: &Cluster) -> BTreeMap<Queue, Queue> {
    let node = members.any();
    node.register("source", &source.access());
    node.register("target", &target.access());
    let (source, target) = (("source", NAME), ("target", NAME));
    node.create_stream(&NewStream { name: NAME, source, target, exact_born_timestamps: false });
    node.wait_stream(NAME, "known with its queues", |stream| stream.partitions > 0);
    node.partitions(NAME).into_iter().map(|partition| (partition.source, partition.target)).collect()
}

/// Lines of errors in the nodes' logs, the first twenty of each node. What a test does to nodes is no error of theirs.
pub(crate) fn complaints(members: &Members) -> Vec<String> {
    let of_node = |place: usize| {
        let text = std::fs::read_to_string(members.node(place).log()).unwrap_or_default();
        let bad = text.lines().filter(|line| line.contains("ERROR") || line.contains("panicked"));
        bad.take(20).map(|line| format!("{}: {line}", name(place))).collect::<Vec<_>>()
    };
    (0..members.count()).flat_map(of_node).collect()
}

/// The nodes with their folder, which stays when something is wrong.
pub(crate) struct Kept {
    pub(crate) members: Option<Members>,
    folder: Option<tempfile::TempDir>,
}

impl Kept {
    /// No nodes yet, and an empty folder.
    pub(crate) fn new(prefix: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
        Self { members: None, folder: Some(folder) }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.as_ref().expect("it is there until the end").path().to_owned()
    }

    pub(crate) fn keep(&mut self) {
        if let Some(folder) = self.folder.take() {
            eprintln!("--- the nodes' files are kept in {}", folder.keep().display());
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Processes first: a node that still writes would leave files behind.
        self.members = None;
        if std::thread::panicking() {
            self.keep();
        }
    }
}
