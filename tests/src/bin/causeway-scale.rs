//! What many partitions cost a cluster of nodes, in one command.
//!
//! `cargo build --release -p causeway -p causeway-tests && cargo run --release -p causeway-tests --bin causeway-scale`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use causeway_tests::bench::page::{command, goals, machine, put};
use causeway_tests::bench::scale::{Cost, Outcome, Plan, measure};
use causeway_tests::brokers::{Cluster, ClusterSettings, Version};
use causeway_tests::scenario::markdown::grouped;
use clap::Parser;

/// Measures memory and disk barriers of nodes with many partitions.
#[derive(Debug, Parser)]
struct Arguments {
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Topics, one stream each.
    #[arg(long, default_value_t = 4)]
    topics: u32,
    /// Queues of each topic.
    #[arg(long, default_value_t = 250)]
    queues: u32,
    /// Messages a second over all queues.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Seconds that it is looked at.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Milliseconds between two checkpoints of a node in the second run.
    #[arg(long, default_value_t = 100)]
    checkpoint_interval: u64,
    /// The page that the part is written to; it is printed as well.
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = |checkpoint_interval| Plan {
        nodes: arguments.nodes,
        topics: arguments.topics,
        queues: arguments.queues,
        rate: arguments.rate,
        body: 1024,
        time: Duration::from_secs(arguments.seconds),
        checkpoint_interval,
    };
    eprintln!("starting Apache RocketMQ 5.5.0");
    let cluster = Cluster::start(ClusterSettings::new(Version::V5_5_0));
    let outcomes = [("default", None), ("quicker", Some(arguments.checkpoint_interval))].map(|(label, interval)| {
        let plan = plan(interval);
        let outcome = measure(&cluster, &plan, label, &folder.path().join(label), &|line| eprintln!("{label}: {line}"));
        (plan, outcome)
    });
    let part = part(&outcomes);
    println!("{part}");
    if let Some(path) = arguments.report {
        put(&path, "partitions", &part);
    }
}

fn part(outcomes: &[(Plan, Outcome)]) -> String {
    let mut out = format!("## Many partitions\n\n`{}`\n\n", command(std::env::args()));
    if let Some((plan, _)) = outcomes.first() {
        let _ = write!(
            out,
            "{} partitions ({} streams of {} queues) on {} nodes in the target's region, one Apache RocketMQ 5.5.0 broker as source and \
             target, all on the same machine ({}). {} messages of {} bytes a second for {} s, into all queues in turn; every message was \
             copied.\n\n",
            grouped(u64::try_from(plan.partitions()).expect("a count")),
            plan.topics,
            plan.queues,
            plan.nodes,
            machine(),
            grouped(plan.rate),
            plan.body,
            plan.time.as_secs(),
        );
    }
    out += "| `schedule.checkpoint_interval_ms` | node | partitions | resident before | resident at most | disk barriers a second | \
            processor | all run after |\n|---|---|---|---|---|---|---|---|\n";
    for (plan, outcome) in outcomes {
        let interval = plan.checkpoint_interval.map_or("400 (default)".to_owned(), |interval| interval.to_string());
        for (place, node) in outcome.nodes.iter().enumerate() {
            let _ = writeln!(
                out,
                "| {interval} | {}{} | {} | {:.0} MiB | {:.0} MiB | {:.1} | {:.0} % of one core | {:.1} s |",
                place + 1,
                if node.leads { " (leader)" } else { "" },
                node.partitions,
                node.idle_mib,
                node.peak_mib,
                node.barriers,
                node.processor * 100.0,
                outcome.started.as_secs_f64(),
            );
        }
    }
    // The other run is there for comparison.
    let rows: Vec<_> = outcomes.iter().take(1).flat_map(|(_, outcome)| rows(outcome)).collect();
    let _ = write!(
        out,
        "\nEach node reports the progress of all of its partitions at once, and each report is a log entry that every voter makes \
         durable: barriers are nodes divided by the interval, however many partitions there are.\n\n{}",
        goals(&rows)
    );
    out
}

fn rows(outcome: &Outcome) -> [(&'static str, String, bool); 2] {
    let most = |of: fn(&Cost) -> f64| outcome.nodes.iter().map(of).fold(0.0, f64::max);
    let (memory, barriers) = (most(|node| node.peak_mib), most(|node| node.barriers));
    [
        ("at most 256 MiB resident on each node", format!("{memory:.0} MiB"), memory <= 256.0),
        ("at most 10 disk barriers a second on each node", format!("{barriers:.1}"), barriers <= 10.0),
    ]
}
