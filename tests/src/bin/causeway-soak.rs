//! The long forms of the tests, with progress on the terminal and reports for the documentation. Exit code 1 when one
//! failed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use causeway_tests::brokers::Version;
use causeway_tests::promotion::{Arrivals, PromotionPlan};
use causeway_tests::scenario::build;
use causeway_tests::slave_reads::SlaveReadsPlan;
use causeway_tests::{chaos, crash, failover, fidelity, product, promotion, slave_reads};
use clap::{Parser, ValueEnum};

/// Runs the long tests against real Apache brokers. Needs a JDK, and Maven for the first run.
#[derive(Debug, Parser)]
#[command(name = "causeway-soak")]
struct Arguments {
    /// What to run.
    #[arg(value_enum)]
    what: What,
    /// The folder to write a report for each part to; without it reports are printed.
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Chaos: how many messages.
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    messages: u64,
    /// Chaos: how often a node is killed.
    #[arg(long, default_value_t = 100, value_name = "N")]
    kills: usize,
    /// Chaos: how often a node stands still for longer than a lease.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pauses: usize,
    /// Chaos: how often a link is cut, one way or both.
    #[arg(long, default_value_t = 30, value_name = "N")]
    cuts: usize,
    /// Upgrade: the binary that nodes begin with; the one under test without it.
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// Upgrade: the binary that they are started with; without it, one that knows one more command.
    #[arg(long, value_name = "FILE")]
    new: Option<PathBuf>,
    /// How often each failover run does everything.
    #[arg(long, default_value_t = 2, value_name = "N")]
    rounds: usize,
    /// Chooses the moments of failover, chaos and upgrade runs; not 0.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Everything but chaos.
    All,
    /// Copies between all pairs of releases keep every field.
    Fidelity,
    /// 200,000 messages, 20 kills, 5 restarts of brokers.
    Crash,
    /// Nodes of a cluster are killed, stand still, leave and come back, with and without a node elsewhere.
    Failover,
    /// Nodes in two regions are killed, stand still and lose links, at random and under load; for hours.
    Chaos,
    /// Three nodes are upgraded one after the other while messages are copied.
    Upgrade,
    /// A slave without the last copies becomes master.
    Promotion,
    /// A source whose slave is read.
    SlaveReads,
}

impl What {
    fn covers(self, part: Self) -> bool {
        self == Self::All && part != Self::Chaos || self == part
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Fidelity => "fidelity",
            Self::Crash => "crash",
            Self::Failover => "failover",
            Self::Chaos => "chaos",
            Self::Upgrade => "upgrade",
            Self::Promotion => "promotion",
            Self::SlaveReads => "slave-reads",
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut progress = |line: &str| eprintln!("[{:>5} s] {line}", started.elapsed().as_secs());
    let mut failures = Vec::new();
    if arguments.what.covers(What::Fidelity) {
        let report = fidelity::run(&fidelity::long(), &mut progress);
        failures.extend(report.failures());
        publish(&arguments, What::Fidelity, &report.markdown(&command(What::Fidelity)));
    }
    if arguments.what.covers(What::Crash) {
        let pairs = [(Version::V4_9_7, Version::V5_5_0), (Version::V5_5_0, Version::V4_9_7)];
        let runs = pairs.map(|(source, target)| {
            progress(&format!("crash run from {source} to {target}"));
            crash::run(&crash::CrashPlan::long(source, target), &mut progress)
        });
        failures.extend(runs.iter().flat_map(crash::CrashReport::failures));
        publish(&arguments, What::Crash, &crash::report::markdown(&runs, &command(What::Crash)));
    }
    if arguments.what.covers(What::Failover) {
        let layouts = [["target", "target", "target"], ["target", "source", "target"]];
        let runs = layouts.map(|regions| {
            progress(&format!("failover run with nodes in {}", regions.join(", ")));
            let (source, target) = (Version::V4_9_7, Version::V5_5_0);
            let plan = failover::FailoverPlan::long(source, target, &regions, arguments.rounds, arguments.seed);
            failover::run(&plan, &mut progress)
        });
        failures.extend(runs.iter().flat_map(failover::FailoverReport::failures));
        let options = format!(" --rounds {} --seed {}", arguments.rounds, arguments.seed);
        let again = command(What::Failover) + &options;
        publish(&arguments, What::Failover, &failover::report::markdown(&runs, &again));
    }
    if arguments.what.covers(What::Chaos) {
        let Arguments { messages, kills, pauses, cuts, seed, .. } = arguments;
        let run = chaos::run(&chaos::ChaosPlan::long(messages, kills, pauses, cuts, seed), &mut progress);
        failures.extend(run.failures());
        let options = format!(" --messages {messages} --kills {kills} --pauses {pauses} --cuts {cuts} --seed {seed}");
        let command = command(What::Chaos) + &options;
        publish(&arguments, What::Chaos, &chaos::report::markdown(&run, &command));
    }
    if arguments.what.covers(What::Upgrade) {
        build::ensure();
        let old = arguments.old.clone().unwrap_or_else(product::binary);
        let new = arguments.new.clone().unwrap_or_else(build::next);
        let builds = failover::Builds { old, new };
        let plan = failover::FailoverPlan::upgrade(Version::V4_9_7, Version::V5_5_0, builds, arguments.seed);
        let run = failover::run(&plan, &mut progress);
        failures.extend(run.failures());
        let text = failover::report::upgrade_markdown(&run, &command(What::Upgrade));
        publish(&arguments, What::Upgrade, &text);
    }
    if arguments.what.covers(What::Promotion) {
        let runs: Vec<_> = promotions().map(|plan| promotion::run(plan, &mut progress)).collect();
        failures.extend(runs.iter().flat_map(promotion::PromotionReport::failures));
        publish(&arguments, What::Promotion, &promotion::markdown(&runs, &command(What::Promotion)));
    }
    if arguments.what.covers(What::SlaveReads) {
        let plans = [Version::V4_9_7, Version::V5_3_3, Version::V5_5_0].map(|source| {
            let target = Version::V5_5_0;
            SlaveReadsPlan { source, target, messages: 6_000 }
        });
        let takeovers = plans.map(|plan| slave_reads::takeover(plan, &mut progress));
        let colds = plans.map(|plan| slave_reads::cold(plan, &mut progress));
        failures.extend(takeovers.iter().flat_map(slave_reads::TakeoverReport::failures));
        failures.extend(colds.iter().flat_map(slave_reads::ColdReport::failures));
        publish(&arguments, What::SlaveReads, &slave_reads::markdown(&takeovers, &colds, &command(What::SlaveReads)));
    }
    if failures.is_empty() {
        progress("everything passed");
        return ExitCode::SUCCESS;
    }
    failures.iter().for_each(|failure| progress(&format!("FAILED: {failure}")));
    ExitCode::FAILURE
}

fn promotions() -> impl Iterator<Item = PromotionPlan> {
    let releases = [Version::V4_9_7, Version::V5_3_3, Version::V5_5_0].into_iter();
    releases.flat_map(|target| {
        [Arrivals::Steady, Arrivals::Silent].map(|arrivals| PromotionPlan {
            source: Version::V5_5_0,
            target,
            arrivals,
            replicated: 20_000,
            unreplicated: 8_000,
        })
    })
}

fn command(part: What) -> String {
    format!("cargo run --release -p causeway-tests --bin causeway-soak -- {}", part.name())
}

fn publish(arguments: &Arguments, part: What, text: &str) {
    match &arguments.report {
        None => println!("{text}"),
        Some(folder) => write(&folder.join(format!("{}.md", part.name())), text),
    }
}

fn write(path: &Path, text: &str) {
    let folder = path.parent().expect("a report lies in a folder");
    std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    std::fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
