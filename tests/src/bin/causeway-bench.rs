//! The benchmark, in one command: what copying costs beside its floor and beside a plain bridge.
//!
//! `cargo build --release -p causeway -p causeway-tests && cargo run --release -p causeway-tests --bin causeway-bench`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use causeway_tests::bench::contest::{Arena, Contender, SOURCE, beside};
use causeway_tests::bench::page::{command, put};
use causeway_tests::bench::report::{Findings, page};
use causeway_tests::bench::{latency, memory};
use causeway_tests::brokers::{Cluster, ClusterSettings, Version};
use causeway_tests::scenario::node::{NewStream, Node, NodeSettings};
use clap::Parser;

/// Bytes of a body.
const BODY: u64 = 1024;

/// Queues of every topic but the one of the memory measurement.
const QUEUES: u32 = 4;

/// Measures CPU per message, throughput, latency and memory against one Apache broker.
#[derive(Debug, Parser)]
struct Arguments {
    /// Messages of a full run.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Rounds of floor and Causeway.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of steady traffic for the latency.
    #[arg(long, default_value_t = 20)]
    latency_seconds: u64,
    /// Messages a second for the latency.
    #[arg(long, default_value_t = 10_000)]
    latency_rate: u64,
    /// Only the floor and Causeway in turn, figures on the terminal and no page: for tuning.
    #[arg(long)]
    brief: bool,
    /// Where the page goes; it is printed as well.
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().expect("a temporary folder");
    eprintln!("starting Apache RocketMQ 5.5.0");
    let cluster = Cluster::start(ClusterSettings::new(Version::V5_5_0));
    let arena = Arena { cluster: &cluster, queues: QUEUES, folder: folder.path() };
    let small = (arguments.messages / 20).max(8000);
    eprintln!("loading {} and {small} messages", arguments.messages);
    fill(&arena, SOURCE, QUEUES, arguments.messages);
    let mut costs: BTreeMap<Contender, Vec<_>> = BTreeMap::new();
    let mut measure = |contender: Contender, round: usize, messages: u64| {
        let cost = arena.run(contender, round, messages);
        eprintln!(
            "round {round}: {:<45} {:7.2} CPU-s/M {:9.0} msg/s",
            contender.name(),
            cost.cpu_per_million,
            cost.rate
        );
        costs.entry(contender).or_default().push(cost);
    };
    for round in 0..arguments.rounds {
        measure(Contender::Floor, round, arguments.messages);
        measure(Contender::Carried, round, arguments.messages);
    }
    if arguments.brief {
        return;
    }
    measure(Contender::BridgeBatches, 0, arguments.messages / 10);
    measure(Contender::BridgeSingles, 0, small);
    measure(Contender::Exact, 0, arguments.messages);
    eprintln!("latency");
    let latency = steady(&arena, &arguments);
    eprintln!("memory");
    fill(&arena, "bench-memory", 100, 100_000);
    let memory = memory::measure(&cluster, folder.path(), "bench-memory", 100, 100_000);
    let findings = Findings {
        costs,
        latency: (latency, arguments.latency_rate),
        memory,
        messages: arguments.messages,
        body: BODY,
        queues: QUEUES,
        command: command(std::env::args()),
    };
    let page = page(&findings);
    println!("{page}");
    if let Some(path) = arguments.report {
        put(&path, "one node", &page);
    }
}

/// Fills a topic with messages whose born timestamps are one millisecond apart within each queue.
fn fill(arena: &Arena<'_>, topic: &str, queues: u32, messages: u64) {
    arena.cluster.admin().create_topic(topic, queues);
    let status = Command::new(beside("causeway-load"))
        .args([arena.cluster.brokers[0].address().as_str(), topic])
        .args([queues.to_string(), (messages / u64::from(queues)).to_string(), BODY.to_string()])
        .status()
        .expect("the loader starts");
    assert!(status.success(), "the loader failed");
}

/// Steady traffic through a stream that is at the end of its queue, and how far the copies were behind.
fn steady(arena: &Arena<'_>, arguments: &Arguments) -> latency::Latency {
    let (source, target) = ("latency-source", "latency-target");
    let admin = arena.cluster.admin();
    admin.create_topic(source, QUEUES);
    admin.create_topic(target, QUEUES);
    let mut node = Node::start(&arena.folder.join("latency"), &NodeSettings::default());
    node.register("source", &arena.cluster.access());
    node.register("target", &arena.cluster.access());
    node.create_stream(&NewStream {
        name: "latency",
        source: ("source", source),
        target: ("target", target),
        exact_born_timestamps: false,
    });
    node.wait_condition("latency", "running", None);
    let per_queue = arguments.latency_rate * arguments.latency_seconds / u64::from(QUEUES);
    let broker = arena.cluster.brokers[0].address();
    let status = Command::new(beside("causeway-load"))
        .args([broker.as_str(), source])
        .args([QUEUES.to_string(), per_queue.to_string(), BODY.to_string(), arguments.latency_rate.to_string()])
        .status()
        .expect("the loader starts");
    assert!(status.success(), "the loader failed");
    arena.watch(&mut node, target, per_queue * u64::from(QUEUES));
    node.stop();
    let per_queue = usize::try_from(per_queue).expect("a count");
    latency::added((&broker, source), (&broker, target), QUEUES, per_queue)
}
