//! The page that a run of the benchmark leaves behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::contest::{Contender, Cost};
use super::latency::Latency;
use super::memory::Memory;

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

/// The page in Markdown.
#[must_use]
pub fn page(findings: &Findings) -> String {
    let Findings { costs, latency: (latency, rate), memory, messages, body, queues, command } = findings;
    let mut out = String::new();
    let floor_cpu = median(costs[&Contender::Floor].iter().map(|cost| cost.cpu_per_million));
    let floor_rate = median(costs[&Contender::Floor].iter().map(|cost| cost.rate));
    let _ = write!(
        out,
        "# Benchmarks\n\n`{command}`\n\nOne Apache RocketMQ 5.5.0 broker with its stock settings, as source and target, on the same \
         machine ({}). {} messages of {body} bytes in {queues} queues, born timestamps one millisecond apart within each queue; the \
         bridges copy fewer. Contenders run in turn, round by round; figures are medians, and machines are \
         noisy: read the ratios.\n\n",
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
            cpu / floor_cpu,
            grouped(speed as u64),
            speed / floor_rate,
        );
    }
    let ratio = |one: Contender| {
        median(costs[&one].iter().map(|cost| cost.cpu_per_million))
            / median(costs[&Contender::Carried].iter().map(|cost| cost.cpu_per_million))
    };
    let _ = write!(
        out,
        "\nCauseway (carried) uses {:.0} times less CPU than the bridge with single sends and {:.1} times less than the bridge with \
         batches.\n\nThe floor has no checkpoint, checksum, provenance, recovery or metrics; it is the least that a stock broker \
         allows. Each round, one by one: {}\n\n",
        ratio(Contender::BridgeSingles),
        ratio(Contender::BridgeBatches),
        rounds(costs),
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

fn rounds(costs: &BTreeMap<Contender, Vec<Cost>>) -> String {
    let list = |contender: Contender| {
        let values: Vec<String> = costs[&contender].iter().map(|cost| format!("{:.2}", cost.cpu_per_million)).collect();
        values.join(", ")
    };
    format!("floor {}; Causeway carried {} CPU-seconds per million.", list(Contender::Floor), list(Contender::Carried))
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    format!("{cores} cores, {}", model.map_or("unknown processor", |(_, model)| model))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let mut parts: Vec<&str> = if head.is_empty() { Vec::new() } else { vec![head] };
    parts.extend(tail.as_bytes().chunks(3).filter_map(|chunk| std::str::from_utf8(chunk).ok()));
    parts.join(",")
}
