//! Nothing lost, doubled or reordered while nodes in two regions are killed, stand still and lose their links, at
//! random from one seed, under load.
//!
//! Three voters and two learners; what one region sends the other is delivered later. Apache's Java client fills a
//! topic of one region at a steady rate, a cluster of the other region gets the copies. Reading order: [`ChaosPlan`],
//! [`run`], [`network`] (distance and cuts), [`course`] (what is done), [`report`] (what happened).

mod course;
pub mod network;
pub mod report;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::brokers::{Cluster, ClusterSettings, Version};
use crate::checker::Rules;
use crate::failover::stops::Watch;
use crate::failover::{Kept, complaints, create_stream};
use crate::java::{self, Numbered};
use crate::members::{Members, name, succeeded};
use crate::random::Random;
use crate::scenario::node::NodeSettings;
use crate::scenario::{self, NAME, Topic, copy_rules};
use course::Course;
use network::Network;
pub use report::ChaosReport;

/// Where the nodes stand: the first three are voters.
pub const REGIONS: [&str; 5] = ["target", "target", "source", "target", "source"];

/// How many of the nodes vote.
pub const VOTERS: usize = 3;

/// How much later a byte arrives in another region: a round trip is twice that.
pub const DELAY: Duration = Duration::from_millis(50);

/// What will happen.
#[derive(Debug, Clone)]
pub struct ChaosPlan {
    /// The source's release.
    pub source: Version,
    /// The target's release.
    pub target: Version,
    /// Messages in all.
    pub messages: u64,
    /// Messages per second over all queues.
    pub rate: u64,
    /// Queues of the topic.
    pub queues: u32,
    /// How often a node is killed.
    pub kills: usize,
    /// How often a node stands still for longer than a lease.
    pub pauses: usize,
    /// How often a link is cut, one way or both.
    pub cuts: usize,
    /// Chooses the order of all that, the nodes, the links and the times; not 0.
    pub seed: u64,
}

/// What happens to a node or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// SIGKILL, and a start a moment later.
    Kill,
    /// SIGSTOP for longer than a lease.
    Pause,
    /// Nothing is delivered from one node to another.
    CutOneWay,
    /// Nothing is delivered between two nodes.
    CutBothWays,
}

impl ChaosPlan {
    /// The short form.
    pub fn short() -> Self {
        Self { rate: 600, queues: 8, ..Self::long(30_000, 2, 1, 2, 7) }
    }

    /// The long form, at a rate at which the messages last for all that happens.
    pub fn long(messages: u64, kills: usize, pauses: usize, cuts: usize, seed: u64) -> Self {
        // What one blow takes, with what follows it.
        const SECONDS: u64 = 14;
        let seconds = SECONDS * u64::try_from(kills + pauses + cuts).unwrap().max(1);
        let rate = (messages / seconds).clamp(200, 4_000);
        let (source, target) = (Version::V4_9_7, Version::V5_5_0);
        Self { source, target, messages, rate, queues: 32, kills, pauses, cuts, seed }
    }

    /// Everything that happens, in the order that the seed gives.
    pub fn blows(&self, random: &mut Random) -> Vec<Blow> {
        let mut blows = vec![Blow::Kill; self.kills];
        blows.extend(vec![Blow::Pause; self.pauses]);
        blows.extend((0..self.cuts).map(|number| if number % 2 == 0 { Blow::CutOneWay } else { Blow::CutBothWays }));
        for last in (1..blows.len()).rev() {
            let other = usize::try_from(random.below(u64::try_from(last + 1).unwrap())).unwrap();
            blows.swap(last, other);
        }
        blows
    }
}

/// Lets everything happen and judges the result.
pub fn run(plan: &ChaosPlan, progress: &mut dyn FnMut(&str)) -> ChaosReport {
    let started = Instant::now();
    let source = Cluster::start(ClusterSettings { name: "source".to_owned(), ..ClusterSettings::new(plan.source) });
    let target = Cluster::start(ClusterSettings { name: "target".to_owned(), ..ClusterSettings::new(plan.target) });
    source.admin().create_topic(NAME, plan.queues);
    progress("both clusters run");
    let mut kept = Kept::new("causeway-chaos-");
    let path = kept.path();
    let mut network = Network::new(&REGIONS, &path.join("nodes"));
    let members = kept.members.insert(Members::found_each(&path.join("nodes"), &REGIONS, |_, listen| {
        NodeSettings::default().text("cluster.advertise", &network.add(listen, DELAY))
    }));
    for place in VOTERS..REGIONS.len() {
        succeeded(&members.command(&["demote", &name(place)], None));
    }
    members.wait_whole();
    progress(&format!("{} nodes are one cluster, {VOTERS} of them voters", members.count()));
    let target_of = create_stream(members, &source, &target);
    let numbered = Numbered { rate: plan.rate, batch: 8, deadline: 36_000, ..Numbered::new(plan.messages) };
    let mut producer = java::start_numbered(&source.access(), NAME, &numbered, &path.join("producer.log"));
    let watch = Watch::start(source.end_reader(NAME, plan.queues), target.end_reader(NAME, plan.queues), target_of);
    let mut random = Random(plan.seed);
    let blows = plan.blows(&mut random);
    let mut course =
        Course { plan, members: &mut *members, network: &network, watch, random, events: Vec::new(), idle: 0 };
    for (number, blow) in blows.iter().enumerate() {
        let is_over = producer.ended().is_some();
        course
            .let_happen(*blow, is_over, &mut |line: &str| progress(&format!("{}/{}: {line}", number + 1, blows.len())));
    }
    let (events, idle) = (course.events, course.idle);
    let status = producer.wait(Duration::from_secs(36_000));
    assert!(status.success(), "the producer failed:\n{}", producer.log_tail(40));
    progress("no more messages; waiting until all are copied");
    let from = Topic { cluster: &source, name: NAME, queues: plan.queues };
    let to = Topic { cluster: &target, name: NAME, queues: plan.queues };
    scenario::wait_caught_up(members.any(), NAME, from, to);
    let partitions = members.partitions(NAME);
    let rewinds = partitions.values().map(|partition| partition.rewinds).sum();
    let epochs = partitions.values().map(|partition| partition.epoch).sum();
    let unclean = members.running().into_iter().filter(|place| !members.stop(*place).success()).map(name).collect();
    let late = late_copies(members);
    let complaints = complaints(members);
    let connections = network.connections();
    let rules = Rules { born_timestamp: false, ..copy_rules() };
    let verdict = scenario::judge(from, to, &path.join("dumps"), &rules);
    progress(&verdict.to_string());
    let seconds = started.elapsed().as_secs();
    let plan = plan.clone();
    let report =
        ChaosReport { plan, events, idle, verdict, late, rewinds, epochs, connections, unclean, complaints, seconds };
    if !report.failures().is_empty() {
        kept.keep();
    }
    report
}

/// How many late copies the nodes reported in their logs. The same ones count once, whoever saw them again.
fn late_copies(members: &Members) -> u64 {
    let mut told: BTreeSet<String> = BTreeSet::new();
    for place in 0..members.count() {
        let text = std::fs::read_to_string(members.node(place).log()).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains("copies landed late, or stand at the target twice"));
        told.extend(lines.filter_map(|line| line.split_once("WARN").map(|(_, said)| said.to_owned())));
    }
    let copies = |said: &String| {
        let number = said.split_once("copies=").and_then(|(_, rest)| rest.split_whitespace().next());
        number.and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("how many copies: {said}"))
    };
    told.iter().map(copies).sum()
}

#[cfg(test)]
mod tests {
    use super::{Blow, ChaosPlan};
    use crate::random::Random;

    #[test]
    fn one_seed_gives_one_order_of_everything_that_is_planned() {
        let plan = ChaosPlan::long(5_000_000, 100, 50, 30, 3);
        let blows = plan.blows(&mut Random(3));
        assert_eq!(blows, plan.blows(&mut Random(3)));
        assert_ne!(blows, plan.blows(&mut Random(4)));
        let count = |wanted: Blow| blows.iter().filter(|blow| **blow == wanted).count();
        let kinds = [Blow::Kill, Blow::Pause, Blow::CutOneWay, Blow::CutBothWays];
        assert_eq!(kinds.map(count), [100, 50, 15, 15]);
        assert_eq!(plan.rate, 5_000_000 / (14 * 180));
    }
}
