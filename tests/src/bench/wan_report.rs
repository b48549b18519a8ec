//! What a run over long lines leaves behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::page::{goals, machine};
use super::report::median;
use super::wan::Run;
use crate::scenario::markdown::grouped;

/// Who copies, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// Through the relay, all queues, bodies of noise.
    Queues,
    /// Through the relay, one queue, bodies of noise.
    OneQueue,
    /// Directly, all queues, bodies of noise.
    Direct,
    /// Through the relay, all queues, orders, as it comes.
    Compressed,
    /// Through the relay, all queues, orders, not compressed.
    Plain,
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Queues => "relay, random bodies",
            Self::OneQueue => "relay, random bodies, one queue",
            Self::Direct => "direct pulls, random bodies",
            Self::Compressed => "relay, orders in JSON, LZ4",
            Self::Plain => "relay, orders in JSON, not compressed",
        }
    }
}

/// Everything that was measured.
pub struct Findings {
    /// Runs of each contender by the length of one way, round by round.
    pub runs: BTreeMap<(Contender, Duration), Vec<Run>>,
    /// Queues of the contenders that have more than one.
    pub queues: u32,
    /// Body bytes.
    pub body: u64,
    /// Bytes that a connection carries in a round trip.
    pub window: usize,
    /// One way of the long line.
    pub one_way: Duration,
    /// The command that measured.
    pub command: String,
}

impl Findings {
    fn runs(&self, contender: Contender, one_way: Duration) -> &[Run] {
        self.runs.get(&(contender, one_way)).map_or(&[], Vec::as_slice)
    }

    /// Throughput with the long line against throughput without it, of the rounds that both ran.
    fn against_none(&self, contender: Contender) -> f64 {
        let (far, near) = (self.runs(contender, self.one_way), self.runs(contender, Duration::ZERO));
        median(far.iter().zip(near).map(|(far, near)| far.rate / near.rate))
    }
}

/// The part of the page, in Markdown.
#[must_use]
pub fn part(findings: &Findings) -> String {
    let Findings { runs, queues, body, window, one_way, command } = findings;
    let mut out = String::new();
    let _ = write!(
        out,
        "## Between regions\n\n`{command}`\n\nSource and target are Apache RocketMQ 5.5.0 clusters of one broker each, beside them one \
         Causeway node each, all on the same machine ({}). The nodes reach each other over mutual TLS through lines of our own that \
         deliver every byte {} ms later in each direction and hold at most {} MiB per connection and direction that are not \
         acknowledged, as a TCP window does: one connection carries {} MB/s at most. The direct contender is one node beside the \
         target that reaches the source's servers through such lines. Bodies of {body} bytes in {queues} queues; MB are 10^6 bytes of \
         bodies. With and without distance in turn, round by round; medians, ratios those of the rounds. Everything, lines and brokers \
         included, shares the processors.\n\n",
        machine(),
        one_way.as_millis(),
        window >> 20,
        (*window as f64 / one_way.as_secs_f64() / 2.0 / 1e6).round(),
    );
    let _ = writeln!(
        out,
        "| contender | round trip | rounds | MB/s | messages/s | first copy after | CPU-seconds per million | bytes on the line per message |"
    );
    let _ = writeln!(out, "|---|---|---|---|---|---|---|---|");
    for ((contender, one_way), runs) in runs {
        let figure = |of: fn(&Run) -> f64| median(runs.iter().map(of));
        let _ = writeln!(
            out,
            "| {} | {} ms | {} | {:.1} | {} | {:.1} s | {:.2} | {:.0} |",
            contender.name(),
            one_way.as_millis() * 2,
            runs.len(),
            figure(|run| run.bytes) / 1e6,
            grouped(figure(|run| run.rate) as u64),
            figure(|run| run.first),
            figure(|run| run.cpu_per_million),
            figure(|run| run.carried_per_message),
        );
    }
    let _ = write!(out, "\nEach round, one by one, MB/s: {}.\n\n{}", rounds(findings), goals(&rows(findings)));
    out
}

fn rows(findings: &Findings) -> Vec<(&'static str, String, bool)> {
    let ratio = findings.against_none(Contender::Queues);
    let one = median(findings.runs(Contender::OneQueue, findings.one_way).iter().map(|run| run.bytes)) / 1e6;
    vec![
        ("at least 0.9 of the throughput without distance", format!("{ratio:.2} x"), ratio >= 0.9),
        ("at least 10 MB/s of one queue", format!("{one:.1} MB/s"), one >= 10.0),
    ]
}

fn rounds(findings: &Findings) -> String {
    let list = |((contender, one_way), runs): (&(Contender, Duration), &Vec<Run>)| {
        let values: Vec<String> = runs.iter().map(|run| format!("{:.1}", run.bytes / 1e6)).collect();
        format!("{} at {} ms {}", contender.name(), one_way.as_millis() * 2, values.join(", "))
    };
    findings.runs.iter().map(list).collect::<Vec<_>>().join("; ")
}
