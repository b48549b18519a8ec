//! Runs the contenders one after the other against one broker, and measures what each cost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::brokers::Cluster;
use crate::java;
use crate::scenario::node::{NewStream, Node, NodeSettings};

/// The topic that everybody copies.
pub const SOURCE: &str = "bench-source";

/// How often the target is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The longest a contender may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Who copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// The minimal pull-and-batch-send loop.
    Floor,
    /// Causeway as it comes.
    Carried,
    /// Causeway with every copy's own born timestamp.
    Exact,
    /// The Java bridge with batches.
    BridgeBatches,
    /// The Java bridge with single sends.
    BridgeSingles,
}

impl Contender {
    /// Its name on the page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor: pull and batch send, nothing else",
            Self::Carried => "Causeway, born_timestamp = carried",
            Self::Exact => "Causeway, born_timestamp = exact",
            Self::BridgeBatches => "Java bridge, batches of 32",
            Self::BridgeSingles => "Java bridge, single sends",
        }
    }
}

/// What a run cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Processor seconds of the contender's process per million messages.
    pub cpu_per_million: f64,
    /// Messages a second, from the first to the last on the target.
    pub rate: f64,
    /// The largest resident memory that was seen, in MiB.
    pub resident_mib: f64,
}

/// The broker and the programs.
pub struct Arena<'a> {
    /// One Apache broker, source and target.
    pub cluster: &'a Cluster,
    /// Queues of every topic.
    pub queues: u32,
    /// A folder for data and logs.
    pub folder: &'a Path,
}

impl Arena<'_> {
    /// Lets a contender copy the first `messages` of the source to a topic of its own. The floor and the bridges end by
    /// themselves; Causeway copies everything, so `messages` has to be all that the source holds.
    #[must_use]
    pub fn run(&self, contender: Contender, round: usize, messages: u64) -> Cost {
        let target = format!("bench-{contender:?}-{round}").to_lowercase();
        self.cluster.admin().create_topic(&target, self.queues);
        match contender {
            Contender::Floor => self.floor(&target, messages),
            Contender::Carried | Contender::Exact => self.causeway(&target, contender == Contender::Exact, messages),
            Contender::BridgeBatches => self.bridge(&target, true, messages),
            Contender::BridgeSingles => self.bridge(&target, false, messages),
        }
    }

    fn floor(&self, target: &str, messages: u64) -> Cost {
        let mut command = Command::new(beside("causeway-floor"));
        let per_queue = messages / u64::from(self.queues);
        command.args([self.cluster.brokers[0].address().as_str(), SOURCE, target]);
        command.args([self.queues.to_string(), per_queue.to_string()]);
        let figures = json_line(&mut command);
        let seconds = figures["wall_seconds"].as_f64().expect("wall_seconds");
        cost(messages, figures["cpu_seconds"].as_f64().expect("cpu_seconds"), seconds, 0.0)
    }

    fn bridge(&self, target: &str, batches: bool, messages: u64) -> Cost {
        let access = self.cluster.access();
        let mut command = java::bridge(&access, &access, (SOURCE, target), messages, batches);
        command.args(["--group", &format!("group-{target}")]);
        let figures = json_line(&mut command);
        let copied = figures["messages"].as_u64().expect("messages");
        let seconds = figures["seconds"].as_f64().expect("seconds");
        cost(copied, figures["cpu_seconds"].as_f64().expect("cpu_seconds"), seconds, 0.0)
    }

    fn causeway(&self, target: &str, exact: bool, messages: u64) -> Cost {
        let mut node = Node::start(&self.folder.join(target), &NodeSettings::default());
        let access = self.cluster.access();
        node.register("source", &access);
        node.register("target", &access);
        let before = node.process().cpu_seconds();
        node.create_stream(&NewStream {
            name: "bench",
            source: ("source", SOURCE),
            target: ("target", target),
            exact_born_timestamps: exact,
        });
        let (seconds, resident) = self.watch(&mut node, target, messages);
        let cpu = node.process().cpu_seconds() - before;
        node.stop();
        cost(messages, cpu, seconds, resident)
    }

    /// Waits until the target holds everything; answers the seconds from the first message to the last, and the largest
    /// resident memory in MiB.
    pub fn watch(&self, node: &mut Node, target: &str, messages: u64) -> (f64, f64) {
        let deadline = Instant::now() + PATIENCE;
        let mut began = None;
        let mut resident: u64 = 0;
        loop {
            let copied = u64::try_from(self.cluster.admin().messages(target, self.queues)).expect("a count");
            resident = resident.max(node.process().resident_bytes());
            if copied > 0 && began.is_none() {
                began = Some(Instant::now());
            }
            if copied >= messages {
                let seconds = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
                return (seconds.max(LOOK.as_secs_f64()), resident as f64 / f64::from(1 << 20));
            }
            assert!(Instant::now() < deadline, "{target} holds {copied} of {messages} after {PATIENCE:?}");
            sleep(LOOK);
        }
    }
}

fn cost(messages: u64, cpu: f64, seconds: f64, resident_mib: f64) -> Cost {
    let messages = messages as f64;
    Cost { cpu_per_million: cpu / messages * 1e6, rate: messages / seconds, resident_mib }
}

/// A program of this package.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn beside(name: &str) -> PathBuf {
    let path = std::env::current_exe().expect("a path of our own").with_file_name(name);
    assert!(path.is_file(), "{name} is not built: run `cargo build --release -p causeway -p causeway-tests`");
    path
}

/// Runs a program and reads the last line that it prints.
fn json_line(command: &mut Command) -> Value {
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{printed}\n{errors}");
    let line = printed.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    line.unwrap_or_else(|| panic!("{command:?} printed no figures:\n{printed}\n{errors}"))
}
