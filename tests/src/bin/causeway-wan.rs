//! What distance between two regions costs, in one command: through the relay and directly.
//!
//! `cargo build --release -p causeway -p causeway-tests && cargo run --release -p causeway-tests --bin causeway-wan`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use causeway_tests::bench::bodies::Content;
use causeway_tests::bench::page::{command, put};
use causeway_tests::bench::wan::{Load, Relay, Run, Wan};
use causeway_tests::bench::wan_report::{Contender, Findings, part};
use causeway_tests::scenario::node::NodeSettings;
use clap::Parser;

/// Bytes of a body.
const BODY: u64 = 1024;

/// Measures throughput and CPU per message over a long line.
#[derive(Debug, Parser)]
struct Arguments {
    /// Messages of a run with many queues.
    #[arg(long, default_value_t = 640_000)]
    messages: u64,
    /// Messages of a run with one queue.
    #[arg(long, default_value_t = 160_000)]
    one_queue_messages: u64,
    /// Messages of a direct run.
    #[arg(long, default_value_t = 48_000)]
    direct_messages: u64,
    /// Queues of a run with many.
    #[arg(long, default_value_t = 16)]
    queues: u32,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds of one way.
    #[arg(long, default_value_t = 100)]
    one_way_milliseconds: u64,
    /// MiB that one direction of a connection carries in a round trip.
    #[arg(long, default_value_t = 4)]
    window: usize,
    /// Only the relay with random bodies, and no page: for tuning.
    #[arg(long)]
    brief: bool,
    /// The page that the part is written to; it is printed as well.
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let one_way = Duration::from_millis(arguments.one_way_milliseconds);
    let load = |queues, content, messages| Load { queues, content, messages, body: BODY };
    let many = load(arguments.queues, Content::Noise, arguments.messages);
    let one = load(1, Content::Noise, arguments.one_queue_messages);
    let direct = load(arguments.queues, Content::Noise, arguments.direct_messages);
    let orders = load(arguments.queues, Content::Orders, arguments.messages);
    eprintln!("starting Apache RocketMQ 5.5.0, twice");
    let mut wan = Wan::start(folder.path(), arguments.window << 20);
    eprintln!("loading");
    wan.fill(&many);
    wan.fill(&one);
    eprintln!("founding the clusters");
    let mut relay = wan.relay("relay", &NodeSettings::default());
    let mut measured = Measured { runs: BTreeMap::new(), one_way };
    for round in 0..arguments.rounds {
        measured.relayed(&mut wan, &mut relay, Contender::Queues, many, round);
        measured.relayed(&mut wan, &mut relay, Contender::OneQueue, one, round);
    }
    if arguments.brief {
        return;
    }
    eprintln!("starting the source that is read directly");
    wan.fill_far(&direct);
    for round in 0..arguments.rounds {
        for one_way in measured.order(round) {
            let run = wan.directly(direct, one_way);
            measured.note(Contender::Direct, one_way, run);
        }
    }
    wan.fill(&orders);
    let mut plain = wan.relay("plain", &NodeSettings::default().text("relay.compression", "none"));
    for round in 0..arguments.rounds {
        measured.relayed(&mut wan, &mut relay, Contender::Compressed, orders, round);
        measured.relayed(&mut wan, &mut plain, Contender::Plain, orders, round);
    }
    let part = part(&Findings {
        runs: measured.runs,
        queues: arguments.queues,
        body: BODY,
        window: arguments.window << 20,
        one_way,
        command: command(std::env::args()),
    });
    println!("{part}");
    if let Some(path) = arguments.report {
        put(&path, "regions", &part);
    }
}

struct Measured {
    runs: BTreeMap<(Contender, Duration), Vec<Run>>,
    one_way: Duration,
}

impl Measured {
    /// Without distance and with it, the other way round in every other round.
    fn order(&self, round: usize) -> [Duration; 2] {
        if round.is_multiple_of(2) { [Duration::ZERO, self.one_way] } else { [self.one_way, Duration::ZERO] }
    }

    fn relayed(&mut self, wan: &mut Wan, relay: &mut Relay, contender: Contender, load: Load, round: usize) {
        for one_way in self.order(round) {
            let run = wan.relayed(relay, load, one_way);
            self.note(contender, one_way, run);
        }
    }

    fn note(&mut self, contender: Contender, one_way: Duration, run: Run) {
        eprintln!(
            "{contender:<12?} {:>4} ms {:8.1} MB/s {:9.0} msg/s, first after {:5.2} s, {:6.2} CPU-s/M, {:5.0} B/msg",
            one_way.as_millis() * 2,
            run.bytes / 1e6,
            run.rate,
            run.first,
            run.cpu_per_million,
            run.carried_per_message
        );
        self.runs.entry((contender, one_way)).or_default().push(run);
    }
}
