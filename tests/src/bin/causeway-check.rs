//! Compares two dumps of topics and says what differs. Exit code 0: identical, 1: different, 2: not comparable.

use std::path::PathBuf;
use std::process::ExitCode;

use causeway_tests::checker::{BodyRule, QueueRule, Rules, compare};
use clap::Parser;

/// Compares a dump of a source topic with a dump of its copy.
#[derive(Debug, Parser)]
#[command(name = "causeway-check")]
struct Arguments {
    /// Dump of the source topic.
    source: PathBuf,
    /// Dump of the target topic.
    target: PathBuf,
    /// Everything must be equal, as in two dumps of one topic.
    #[arg(long)]
    exact: bool,
    /// A property that every target message must have and that is not compared (repeatable).
    #[arg(long = "added", value_name = "NAME")]
    added: Vec<String>,
    /// A property that is not compared (repeatable).
    #[arg(long = "overwritten", value_name = "NAME")]
    overwritten: Vec<String>,
    /// A property that no target message may have (repeatable).
    #[arg(long = "stripped", value_name = "NAME")]
    stripped: Vec<String>,
    /// Messages of a source queue below an offset are not expected (repeatable).
    #[arg(long = "first", value_name = "BROKER/QUEUE@OFFSET", value_parser = first_offset)]
    first: Vec<((String, u32), i64)>,
    /// Each source queue must be in one target queue, not in the one with the same number.
    #[arg(long)]
    any_queue: bool,
    /// Compare bodies after decompression.
    #[arg(long)]
    decoded_bodies: bool,
    /// Do not compare born timestamps.
    #[arg(long)]
    ignore_born_timestamp: bool,
    /// Target messages from elsewhere are no difference.
    #[arg(long)]
    allow_foreign: bool,
    /// How many differences to show.
    #[arg(long, default_value_t = 20)]
    examples: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn first_offset(text: &str) -> Result<((String, u32), i64), String> {
    let parts = text.rsplit_once('@').and_then(|(queue, offset)| {
        let (broker, queue) = queue.rsplit_once('/')?;
        Some(((broker.to_owned(), queue.parse().ok()?), offset.parse().ok()?))
    });
    parts.ok_or_else(|| "write it as BROKER/QUEUE@OFFSET".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut rules = if arguments.exact { Rules::exact() } else { Rules::copy(&[]) };
    rules.added.extend(arguments.added);
    rules.overwritten.extend(arguments.overwritten);
    rules.stripped.extend(arguments.stripped);
    rules.first_offsets.extend(arguments.first);
    rules.born_timestamp &= !arguments.ignore_born_timestamp;
    rules.allow_foreign = arguments.allow_foreign;
    rules.examples = arguments.examples;
    if arguments.any_queue {
        rules.queues = QueueRule::One;
    }
    if arguments.decoded_bodies {
        rules.body = BodyRule::Decoded;
    }
    match compare(&arguments.source, &arguments.target, &rules) {
        Ok(report) => {
            if arguments.json {
                println!("{}", serde_json::to_string_pretty(&report).unwrap());
            } else {
                print!("{report}");
            }
            if report.identical_topics { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("causeway-check: {error}");
            ExitCode::from(2)
        }
    }
}
