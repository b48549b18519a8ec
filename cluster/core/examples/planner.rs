//! Measures the planner and the state with many partitions: how long a look takes, and what the state weighs.
//!
//! `cargo run --release -p causeway-core --example planner -- [partitions...]`

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_precision_loss, clippy::as_conversions)]

use std::time::{Duration, Instant};

use causeway_core::checkpoint::{Checkpoint, LastCopy};
use causeway_core::command::{CURRENT_VERSION, Command, Envelope, NewPartition, Progress};
use causeway_core::ids::{ClusterId, Incarnation, InstanceIdentity, NodeId, RuleVersion, StreamId, Timestamp};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::node::{JoinToken, MemberRole, NodeSpec, ProcessId};
use causeway_core::outcome::Outcome;
use causeway_core::partition::QueueId;
use causeway_core::plan::{Conditions, Limits, Liveness, plan};
use causeway_core::state::State;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};

/// Nodes, all beside the target.
const NODES: u8 = 3;

/// Queues of a stream.
const QUEUES: u32 = 250;

/// Looks at a state that does not change.
const LOOKS: u32 = 20;

fn main() {
    let asked: Vec<u32> = std::env::args().skip(1).map(|text| text.parse().unwrap()).collect();
    let asked = if asked.is_empty() { vec![1_000, 10_000] } else { asked };
    println!(
        "| partitions | nodes | slowest look of placing all | looks | a look with nothing to do | after a node's end | progress of all | snapshot |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for partitions in asked {
        measure(partitions);
    }
}

fn measure(partitions: u32) {
    let mut cluster = Cluster::with(partitions);
    let mut conditions = Conditions::default();
    for node in 1..=NODES {
        conditions.nodes.insert(NodeId(node.into()), Liveness::Up);
    }
    let placing = cluster.settle(&conditions);
    let idle: Vec<Duration> =
        (0..LOOKS).map(|_| timed(|| plan(&cluster.state, &conditions, Limits::default())).0).collect();
    let recording = timed(|| cluster.record_progress()).0;
    conditions.nodes.insert(NodeId(2), Liveness::Down);
    let losing = cluster.settle(&conditions);
    let (snapshot_time, snapshot) = timed(|| cluster.state.to_snapshot().unwrap());
    println!(
        "| {partitions} | {NODES} | {} | {} | {} | {} | {} | {:.1} MiB in {} |",
        shown(longest(&placing)),
        placing.len(),
        shown(longest(&idle)),
        shown(longest(&losing)),
        shown(recording),
        snapshot.len() as f64 / f64::from(1 << 20),
        shown(snapshot_time),
    );
}

fn longest(times: &[Duration]) -> Duration {
    times.iter().copied().max().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let done = work();
    (began.elapsed(), done)
}

struct Cluster {
    state: State,
    index: u64,
}

impl Cluster {
    fn with(partitions: u32) -> Self {
        let mut cluster = Self { state: State::default(), index: 0 };
        cluster.apply(Command::Initialise { cluster: ClusterId(1) });
        for number in 1..=NODES {
            let (id, region) = (NodeId(number.into()), name("target"));
            let address = Some(format!("10.0.0.{number}:7501"));
            let spec = NodeSpec { name: name(&format!("node-{number}")), region, address, supports: CURRENT_VERSION };
            if number > 1 {
                let token = JoinToken { role: MemberRole::Voter, expires_at: Timestamp(i64::MAX) };
                cluster.apply(Command::IssueJoinToken { hash: [number; 32], token });
                cluster.apply(Command::AdmitNode { token: [number; 32], spec: spec.clone() });
            }
            cluster.apply(Command::StartNode { node: id, spec, process: ProcessId(1) });
        }
        for (identity, end) in [(1, "source"), (2, "target")] {
            let name_servers = vec!["127.0.0.1:9876".into()];
            let spec = InstanceSpec { name: name(end), region: name(end), name_servers, credentials: None, tls: None };
            cluster.apply(Command::PutInstance { spec, identity: InstanceIdentity(identity), expected: None });
        }
        for topic in 0..partitions / QUEUES {
            cluster.stream(topic);
        }
        cluster
    }

    fn stream(&mut self, topic: u32) -> StreamId {
        let end = |instance: &str| Endpoint { instance: name(instance), topic: format!("topic-{topic}") };
        let spec = StreamSpec {
            name: name(&format!("stream-{topic}")),
            source: end("source"),
            target: end("target"),
            start: StartPosition::Earliest,
            tag_expression: "*".into(),
            run: RunOptions::default(),
        };
        let Outcome::StreamCreated(stream) = self.apply(Command::CreateStream { spec }) else { panic!("not created") };
        let queue = |queue| QueueId { broker: "broker-a".into(), queue };
        let partitions = (0..QUEUES).map(|number| NewPartition { source: queue(number), target: queue(number) });
        self.apply(Command::AddPartitions { stream, partitions: partitions.collect() });
        stream
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let envelope = Envelope { version: CURRENT_VERSION, request: 0, at: Timestamp(0), command };
        let outcome = self.state.apply(self.index, &envelope);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        outcome
    }

    /// Plans until there is nothing to do; owners let go at once. Tells how long each look took.
    fn settle(&mut self, conditions: &Conditions) -> Vec<Duration> {
        let mut times = Vec::new();
        loop {
            let (time, commands) = timed(|| plan(&self.state, conditions, Limits::default()));
            times.push(time);
            if commands.is_empty() {
                return times;
            }
            for command in commands {
                self.apply(command);
            }
            let moving = self.state.partitions.iter().filter(|(_, is)| is.moving_to.is_some());
            let moving: Vec<_> = moving.filter_map(|(id, is)| Some((id.clone(), is.owner?, is.epoch))).collect();
            for (partition, node, epoch) in moving {
                self.apply(Command::Release { partition, node, epoch, checkpoint: None, settled: true });
            }
        }
    }

    /// One report of progress from each node, with all of its partitions.
    fn record_progress(&mut self) {
        for node in (1..=NODES).map(|node| NodeId(node.into())) {
            let own = self.state.partitions.iter().filter(|(_, is)| is.owner == Some(node));
            let progress = own.map(|(partition, is)| Progress {
                partition: partition.clone(),
                checkpoint: Checkpoint {
                    epoch: is.epoch,
                    rule_version: RuleVersion(0),
                    source_next: 1_000,
                    target_next: 1_000,
                    source_incarnation: Incarnation(0),
                    target_incarnation: Incarnation(0),
                    fingerprint: Some(7),
                    last_copy: Some(LastCopy { source_offset: 999, target_offset: 999 }),
                },
            });
            let progress: Vec<_> = progress.collect();
            for some in progress.chunks(256) {
                self.apply(Command::RecordProgress { node, progress: some.to_vec() });
            }
        }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
