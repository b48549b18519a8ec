//! Many partitions with little traffic on a cluster of nodes: what they cost each node in memory and disk barriers.

use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::brokers::Cluster;
use crate::members::Members;
use crate::scenario::node::{NewStream, Node, NodeSettings};

use super::raw::{connect, header, send};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// The longest wait for all partitions to run, or for the last copies.
const PATIENCE: Duration = Duration::from_secs(240);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Nodes, all in the target's region.
    pub nodes: usize,
    /// Topics, one stream each.
    pub topics: u32,
    /// Queues of each topic.
    pub queues: u32,
    /// Messages a second over all queues.
    pub rate: u64,
    /// Bytes of a body.
    pub body: usize,
    /// How long it is looked at.
    pub time: Duration,
    /// Milliseconds between two checkpoints of a node; none for what comes by itself.
    pub checkpoint_interval: Option<u64>,
}

impl Plan {
    /// All partitions.
    #[must_use]
    pub fn partitions(&self) -> usize {
        usize::try_from(self.topics * self.queues).expect("a count")
    }
}

/// What one node cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Partitions that it owned at the end.
    pub partitions: usize,
    /// Whether it led.
    pub leads: bool,
    /// MiB resident before there was a stream.
    pub idle_mib: f64,
    /// The most MiB resident that were seen while it was looked at.
    pub peak_mib: f64,
    /// Disk barriers a second.
    pub barriers: f64,
    /// Share of one processor.
    pub processor: f64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Each node.
    pub nodes: Vec<Cost>,
    /// From the creation of the first stream until every partition ran.
    pub started: Duration,
    /// Messages that arrived while it was looked at.
    pub messages: u64,
}

/// Runs it, with topics named after `label`. `progress` hears what happens.
///
/// # Panics
/// When something does not start, or a message is not copied in time.
pub fn measure(cluster: &Cluster, plan: &Plan, label: &str, folder: &Path, progress: &dyn Fn(&str)) -> Outcome {
    let broker = cluster.brokers[0].address();
    let streams: Vec<Names> = (0..plan.topics).map(|number| Names::new(label, number)).collect();
    for names in &streams {
        cluster.admin().create_topic(&names.source, plan.queues);
        cluster.admin().create_topic(&names.target, plan.queues);
    }
    // A queue that holds nothing is waited at for many seconds before it counts as read.
    let all = u64::try_from(plan.partitions()).expect("a count");
    let mut line = connect(&broker);
    (0..all).for_each(|number| send_one(&mut line, plan, &streams, number));
    progress("founding the cluster");
    let mut settings = NodeSettings::default();
    if let Some(interval) = plan.checkpoint_interval {
        settings = settings.key("schedule.checkpoint_interval_ms", interval);
    }
    let mut members = Members::found(folder, &vec!["target"; plan.nodes], &settings);
    members.any().register("source", &cluster.access());
    members.any().register("target", &cluster.access());
    let mut nodes: Vec<Cost> = (0..plan.nodes)
        .map(|place| Cost { idle_mib: mib(members.node_mut(place).process().resident_bytes()), ..Cost::default() })
        .collect();
    let created = Instant::now();
    for names in &streams {
        members.any().create_stream(&NewStream {
            name: &names.stream,
            source: ("source", &names.source),
            target: ("target", &names.target),
            exact_born_timestamps: false,
        });
    }
    wait_running(&members, plan, &streams, created);
    let started = created.elapsed();
    progress(&format!("every partition runs after {:.1} s", started.as_secs_f64()));
    let (sent, ended) = (AtomicU64::new(all), AtomicBool::new(false));
    scope(|scope| {
        // Over a connection of its own: a broker closes one that was silent while the partitions started.
        scope.spawn(|| trickle(connect(&broker), plan, &streams, &sent, &ended));
        let _ends = Ends(&ended);
        look(&mut members, plan, &mut nodes, progress);
    });
    let messages = sent.load(Ordering::Relaxed);
    wait_copied(cluster, plan, &streams, messages);
    let leader = members.wait_leader();
    for (place, node) in nodes.iter_mut().enumerate() {
        node.leads = place == leader;
    }
    for names in &streams {
        for place in members.owners(&names.stream).into_values().flatten() {
            nodes[place].partitions += 1;
        }
    }
    Outcome { nodes, started, messages }
}

/// The names of one stream and its topics.
struct Names {
    stream: String,
    source: String,
    target: String,
}

impl Names {
    fn new(label: &str, number: u32) -> Self {
        let stream = format!("many-{label}-{number}");
        Self { source: format!("{stream}-source"), target: format!("{stream}-target"), stream }
    }
}

/// Tells that it is over when it is dropped, after a panic too: the scope waits for its threads.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn wait_running(members: &Members, plan: &Plan, streams: &[Names], since: Instant) {
    let runs = |names: &Names| {
        let found = members.any().stream(&names.stream);
        found.state == "running" && found.partitions == usize::try_from(plan.queues).expect("a count")
    };
    while !streams.iter().all(runs) {
        let states: Vec<_> = streams.iter().map(|names| members.any().stream(&names.stream)).collect();
        assert!(since.elapsed() < PATIENCE, "not every partition runs after {PATIENCE:?}: {states:#?}");
        sleep(LOOK);
    }
}

/// Sends a message into the next queue of the next topic.
fn send_one(line: &mut TcpStream, plan: &Plan, streams: &[Names], number: u64) {
    let topics = u64::from(plan.topics);
    let names = &streams[usize::try_from(number % topics).expect("below the topics")];
    let queue = number / topics % u64::from(plan.queues);
    let body = vec![b'x'; plan.body];
    send(line, &header(310, &names.source, queue, number, "TAGS\\u0001many\\u0002", false), &body);
}

/// One message after the other, at a steady rate.
fn trickle(mut line: TcpStream, plan: &Plan, streams: &[Names], sent: &AtomicU64, ended: &AtomicBool) {
    let (first, began) = (sent.load(Ordering::Relaxed), Instant::now());
    while !ended.load(Ordering::Relaxed) {
        let number = sent.load(Ordering::Relaxed);
        send_one(&mut line, plan, streams, number);
        sent.store(number + 1, Ordering::Relaxed);
        let due = began + Duration::from_secs_f64((number + 1 - first) as f64 / plan.rate as f64);
        sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn look(members: &mut Members, plan: &Plan, nodes: &mut [Cost], progress: &dyn Fn(&str)) {
    // What starting left behind passes first.
    sleep(Duration::from_secs(5).min(plan.time));
    let counted = |members: &mut Members| -> Vec<(u64, f64)> {
        (0..plan.nodes)
            .map(|place| (barriers(members.node(place)), members.node_mut(place).process().cpu_seconds()))
            .collect()
    };
    let (began, before) = (Instant::now(), counted(members));
    let mut told = Instant::now();
    while began.elapsed() < plan.time {
        for (place, node) in nodes.iter_mut().enumerate() {
            node.peak_mib = node.peak_mib.max(mib(members.node_mut(place).process().resident_bytes()));
        }
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            let memory: Vec<String> = nodes.iter().map(|node| format!("{:.0} MiB", node.peak_mib)).collect();
            progress(&format!("after {:.0} s: {}", began.elapsed().as_secs_f64(), memory.join(", ")));
        }
        sleep(LOOK);
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), counted(members));
    for ((node, before), after) in nodes.iter_mut().zip(before).zip(after) {
        node.barriers = (after.0 - before.0) as f64 / seconds;
        node.processor = (after.1 - before.1) / seconds;
    }
}

/// How many disk barriers a node has waited for.
fn barriers(node: &Node) -> u64 {
    let Value::String(page) = node.get("/metrics") else { panic!("the metrics are text") };
    let line = page.lines().find(|line| line.starts_with("causeway_barrier_seconds_count"));
    let count = line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse::<f64>().ok());
    count.expect("the metrics count disk barriers") as u64
}

fn wait_copied(cluster: &Cluster, plan: &Plan, streams: &[Names], messages: u64) {
    let since = Instant::now();
    loop {
        let copied: i64 = streams
            .iter()
            .map(|names| {
                let ends = cluster.end_reader(&names.target, plan.queues).read().expect("the target answers");
                ends.values().sum::<i64>()
            })
            .sum();
        if u64::try_from(copied).expect("a count") >= messages {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{copied} of {messages} messages are copied after {PATIENCE:?}");
        sleep(LOOK);
    }
}
