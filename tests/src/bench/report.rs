//! The page that a run of the benchmark leaves behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::contest::{Contender, Cost};
use super::latency::Latency;
use super::memory::Memory;
use super::page::{self, machine};
use crate::scenario::markdown::grouped;

/// Everything that was measured.
pub struct Findings {
    /// What each contender cost, round by round.
    pub costs: BTreeMap<Contender, Vec<Cost>>,
    /// Added latency, and the rate in messages a second that it was measured at.
    pub latency: (Latency, u64),
    /// Memory with many partitions.
    pub memory: Memory,
    /// Messages of a full run.
    pub messages: u64,
    /// Body bytes.
    pub body: u64,
    /// Queues.
    pub queues: u32,
    /// The command that measured.
    pub command: String,
}

/// The middle of some values.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Findings {
    /// A figure of a contender against the floor's: of each round against the floor's in the same round, where both
    /// ran, so that a machine that is slower for a while is slower for both.
    fn against_floor(&self, contender: Contender, figure: impl Fn(&Cost) -> f64) -> f64 {
        let (floor, runs) = (&self.costs[&Contender::Floor], &self.costs[&contender]);
        if runs.len() == floor.len() {
            return median(runs.iter().zip(floor).map(|(run, floor)| figure(run) / figure(floor)));
        }
        median(runs.iter().map(&figure)) / median(floor.iter().map(&figure))
    }

    /// How many times as much CPU as Causeway a contender takes.
    fn against_causeway(&self, contender: Contender) -> f64 {
        let cpu = |contender| median(self.costs[&contender].iter().map(|cost: &Cost| cost.cpu_per_million));
        cpu(contender) / cpu(Contender::Carried)
    }
}

/// The page in Markdown.
#[must_use]
pub fn page(findings: &Findings) -> String {
    let Findings { costs, latency: (latency, rate), memory, messages, body, queues, command } = findings;
    let mut out = String::new();
    let _ = write!(
        out,
        "# Benchmarks\n\n`{command}`\n\nOne Apache RocketMQ 5.5.0 broker with its stock settings, as source and target, on the same \
         machine ({}). {} messages of {body} bytes in {queues} queues, born timestamps one millisecond apart within each queue; the \
         bridges copy fewer. Contenders run in turn, round by round; figures are medians, ratios those of the rounds, and \
         machines are noisy: read the ratios.\n\n",
        machine(),
        grouped(*messages),
    );
    let _ = writeln!(
        out,
        "| contender | rounds | CPU-seconds per million | against the floor | messages/s | against the floor | resident memory |"
    );
    let _ = writeln!(out, "|---|---|---|---|---|---|---|");
    for (contender, runs) in costs {
        let cpu = median(runs.iter().map(|cost| cost.cpu_per_million));
        let speed = median(runs.iter().map(|cost| cost.rate));
        let resident = runs.iter().map(|cost| cost.resident_mib).fold(0.0, f64::max);
        let resident = if resident > 0.0 { format!("{resident:.0} MiB") } else { "not measured".to_owned() };
        let _ = writeln!(
            out,
            "| {} | {} | {cpu:.2} | {:.2} x | {} | {:.2} x | {resident} |",
            contender.name(),
            runs.len(),
            findings.against_floor(*contender, |cost| cost.cpu_per_million),
            grouped(speed as u64),
            findings.against_floor(*contender, |cost| cost.rate),
        );
    }
    let _ = write!(
        out,
        "\nThe floor has no checkpoint, checksum, provenance, recovery or metrics; it is the least that a stock broker \
         allows. The price of `exact` is the price of single sends: where all born timestamps differ, a batch holds one \
         message. Each round, one by one: {}\n\n{}",
        rounds(costs),
        goals(findings),
    );
    let _ = write!(
        out,
        "## Added latency\n\nTime between the store timestamps of source and target at {} messages/s, {} messages of 1 KiB: **p50 {} ms, \
         p99 {} ms**, slowest {} ms.\n\n",
        grouped(*rate),
        grouped(latency.messages as u64),
        latency.p50,
        latency.p99,
        latency.maximum,
    );
    let _ = write!(
        out,
        "## Memory\n\n{} partitions with a backlog of {} messages: {:.0} MiB resident before the stream, at most **{:.0} MiB** while copying, {:.0} MiB after.\n",
        memory.partitions,
        grouped(memory.messages),
        memory.idle_mib,
        memory.peak_mib,
        memory.after_mib,
    );
    out
}

/// What was aimed at, and whether it was reached.
fn goals(findings: &Findings) -> String {
    let cpu = findings.against_floor(Contender::Carried, |cost| cost.cpu_per_million);
    let rate = findings.against_floor(Contender::Carried, |cost| cost.rate);
    let singles = findings.against_causeway(Contender::BridgeSingles);
    let batches = findings.against_causeway(Contender::BridgeBatches);
    let resident = findings.memory.peak_mib;
    let rows = [
        ("at most 1.5 x the floor's CPU", format!("{cpu:.2} x"), cpu <= 1.5),
        ("at least 0.85 of the floor's throughput", format!("{rate:.2} x"), rate >= 0.85),
        ("at least 20 x less CPU than the bridge with single sends", format!("{singles:.0} x"), singles >= 20.0),
        ("at least 8 x less CPU than the bridge with batches", format!("{batches:.1} x"), batches >= 8.0),
        ("at most 64 MiB resident for 100 partitions", format!("{resident:.0} MiB"), resident <= 64.0),
    ];
    format!("## Goals\n\n{}\n", page::goals(&rows))
}

fn rounds(costs: &BTreeMap<Contender, Vec<Cost>>) -> String {
    let list = |contender: Contender| {
        let values: Vec<String> = costs[&contender].iter().map(|cost| format!("{:.2}", cost.cpu_per_million)).collect();
        values.join(", ")
    };
    format!("floor {}; Causeway carried {} CPU-seconds per million.", list(Contender::Floor), list(Contender::Carried))
}
