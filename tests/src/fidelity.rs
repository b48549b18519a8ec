//! Does a copy keep everything? Between releases of Apache's brokers, with every kind of message that a copy could get
//! wrong.
//!
//! The short form copies between the oldest and the newest release in both directions and to the one between; its 5.5.0
//! source speaks IPv6, so that stored records have 16-byte hosts. The long form copies all nine pairs with exact and
//! with carried born timestamps, and from an IPv6 source. One node runs all streams at once.
//!
//! Sources are filled once by Apache's client (`tests/java/Produce.java` says with what), both sides are read back with
//! Apache's client and compared field by field.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::thread::panicking;
use std::time::Instant;

use tempfile::TempDir;

use crate::brokers::{Cluster, ClusterSettings, IpVersion, Version};
use crate::checker::Rules;
use crate::checker::dump::{Line, Lines, Message};
use crate::java;
use crate::scenario::markdown::{Table, grouped, heading};
use crate::scenario::node::{NewStream, Node, NodeSettings};
use crate::scenario::{Topic, Verdict, copy_rules, dump, judge_dumps, wait_caught_up};

/// The topic that holds the set at every source.
const SET: &str = "fidelity";

/// Queues of the set's topic.
const QUEUES: u32 = 4;

/// Kinds of messages that every source holds, as `Produce.java` names them in the property `case`. What it names beyond
/// these is compared as well; these must not be missing.
const CASES: [&str; 24] = [
    "every-byte",
    "length-1",
    "length-65536",
    "separators",
    "largest",
    "compressed-LZ4-4194304",
    "compressed-ZSTD-4194304",
    "compressed-ZLIB-4194304",
    "compressed-untyped",
    "unicode",
    "large-property",
    "many-properties",
    "keys",
    "no-wait",
    "request",
    "tags",
    "flag",
    "reconsumed",
    "born",
    "batch",
    "empty",
    "repeated-id",
    "fifo",
    "committed",
];

/// Kinds that need time at the source before they are visible.
const MATURED: [&str; 2] = ["delay-level-1", "delay-level-2"];

/// Kinds that only 5.x sources have.
const TIMERS: [&str; 2] = ["timer-delay", "timer-deliver"];

/// One side of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side {
    /// The release.
    pub version: Version,
    /// Whether clients connect over IPv6.
    pub ipv6: bool,
}

impl Side {
    const fn new(version: Version) -> Self {
        Self { version, ipv6: false }
    }

    const fn ipv6(version: Version) -> Self {
        Self { version, ipv6: true }
    }

    /// The instance name of this side in the role `role`; topic and instance names have no dots.
    fn name(self, role: &str) -> String {
        let ip = if self.ipv6 { "-ipv6" } else { "" };
        format!("{role}-{}{ip}", self.version.number().replace('.', "-"))
    }

    fn shown(self) -> String {
        format!("{}{}", self.version, if self.ipv6 { " over IPv6" } else { "" })
    }
}

/// One stream of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Where messages come from.
    pub source: Side,
    /// Where copies go.
    pub target: Side,
    /// Whether each copy keeps its own born timestamp, or carries it in provenance.
    pub exact: bool,
}

impl Pair {
    fn stream(&self) -> String {
        let mode = if self.exact { "exact" } else { "carried" };
        format!("{}-to-{}-{mode}", self.source.name("from"), self.target.name("target"))
    }
}

/// The short form: both directions between the oldest and the newest release, and to the one between.
pub fn short() -> Vec<Pair> {
    let (old, between, new) = (Side::new(Version::V4_9_7), Side::new(Version::V5_3_3), Side::new(Version::V5_5_0));
    let new_ipv6 = Side::ipv6(Version::V5_5_0);
    vec![
        Pair { source: old, target: new, exact: true },
        Pair { source: new_ipv6, target: old, exact: true },
        Pair { source: new_ipv6, target: between, exact: false },
    ]
}

/// The long form: all pairs of three releases in both modes, and an IPv6 source to each.
pub fn long() -> Vec<Pair> {
    let releases = [Version::V4_9_7, Version::V5_3_3, Version::V5_5_0];
    let mut pairs = Vec::new();
    for exact in [true, false] {
        for source in releases {
            for target in releases {
                pairs.push(Pair { source: Side::new(source), target: Side::new(target), exact });
            }
        }
    }
    let ipv6 = Side::ipv6(Version::V5_5_0);
    pairs.extend(releases.map(|target| Pair { source: ipv6, target: Side::new(target), exact: true }));
    pairs
}

/// What became of one pair.
#[derive(Debug)]
pub struct Outcome {
    /// The pair.
    pub pair: Pair,
    /// What both judges say.
    pub verdict: Verdict,
    /// What else is wrong: a kind of message that is missing, FIFO order, born hosts.
    pub problems: Vec<String>,
    /// How many different kinds of messages the target holds.
    pub kinds: usize,
}

impl Outcome {
    /// Whether the copy is as it should be.
    pub fn is_good(&self) -> bool {
        self.verdict.is_good() && self.problems.is_empty()
    }
}

/// All outcomes of a run.
#[derive(Debug)]
pub struct FidelityReport {
    /// One for each pair.
    pub outcomes: Vec<Outcome>,
    /// How long it took.
    pub seconds: u64,
}

impl FidelityReport {
    /// Everything that is wrong; empty when the run passed.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.outcomes.iter().filter(|outcome| !outcome.is_good());
        failed
            .map(|outcome| format!("{}: {:?}\n{}", outcome.pair.stream(), outcome.problems, outcome.verdict))
            .collect()
    }

    /// The report for the documentation.
    pub fn markdown(&self, command: &str) -> String {
        let mut table = Table::new(&[
            "source",
            "target",
            "born timestamps",
            "messages",
            "identical",
            "lost",
            "doubled",
            "out of order",
            "altered",
            "originals kept",
            "kinds",
            "verdict",
        ]);
        for outcome in &self.outcomes {
            let Outcome { pair, verdict, kinds, .. } = outcome;
            let report = &verdict.report;
            table.row(&[
                pair.source.shown(),
                pair.target.shown(),
                if pair.exact { "exact" } else { "carried" }.to_owned(),
                grouped(i64::try_from(report.source_messages).unwrap()),
                grouped(i64::try_from(report.identical).unwrap()),
                report.lost.to_string(),
                report.duplicated.to_string(),
                report.out_of_order.to_string(),
                (report.altered + report.moved + report.foreign + report.corrupt).to_string(),
                verdict.findings.with_original.to_string(),
                kinds.to_string(),
                if outcome.is_good() { "pass" } else { "FAIL" }.to_owned(),
            ]);
        }
        let failures = self.failures();
        let mut text = heading("Fidelity between releases", command, failures.is_empty());
        text.push_str(
            "One node copies every pair at once. Each source is filled by Apache's Java client: every byte value, bodies from \
             empty to 4 MiB, bodies compressed with zlib, LZ4 and ZSTD (and the untyped compression of older clients), unicode, \
             500 and 30 KB properties, flags, reconsume counts, repeated ids, batches, FIFO by sharding key, matured delay \
             messages by level and by time, committed transactions beside rolled back ones. Both sides are read back with \
             Apache's Java client and compared field by field: stored and decompressed body, checksum, flag, compression, \
             reconsume count, every property, queue, order, and the born timestamp: on the message itself (`exact`) or in its \
             provenance (`carried`). A second judge follows the provenance of each copy to its source message.\n\n",
        );
        write!(
            text,
            "{}\n*Originals kept*: copies whose delay, timer or transaction marks were taken off and are kept in \
             `CAUSEWAY_ORIGINAL`. The whole run took {} seconds.\n",
            table.text(),
            self.seconds
        )
        .unwrap();
        for failure in failures {
            write!(text, "\n```\n{failure}\n```\n").unwrap();
        }
        text
    }
}

/// Everything that runs, and the folder of dumps, which is kept when a test panics.
#[derive(Debug)]
struct Suite {
    node: Node,
    sources: BTreeMap<Side, Cluster>,
    targets: BTreeMap<Side, Cluster>,
    folder: Option<TempDir>,
}

impl Drop for Suite {
    fn drop(&mut self) {
        if panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("--- dumps are kept in {}", folder.keep().display());
        }
    }
}

/// Copies all pairs and judges the copies.
pub fn run(pairs: &[Pair], progress: &mut dyn FnMut(&str)) -> FidelityReport {
    let started = Instant::now();
    let suite = start(pairs, progress);
    let folder = suite.folder.as_ref().expect("there is a folder").path();
    for pair in pairs {
        let (source, target) = (pair.source.name("source"), pair.target.name("target"));
        let (stream, topic) = (pair.stream(), pair.stream());
        let new = NewStream {
            name: &stream,
            source: (&source, SET),
            target: (&target, &topic),
            exact_born_timestamps: pair.exact,
        };
        suite.node.create_stream(&new);
    }
    let mut dumps: BTreeMap<Side, PathBuf> = BTreeMap::new();
    let mut outcomes = Vec::new();
    for pair in pairs {
        let stream = pair.stream();
        let source = Topic { cluster: &suite.sources[&pair.source], name: SET, queues: QUEUES };
        let target = Topic { cluster: &suite.targets[&pair.target], name: &stream, queues: QUEUES };
        suite.node.wait_stream(&stream, "known with its queues", |stream| stream.partitions > 0);
        wait_caught_up(&suite.node, &stream, source, target);
        let original = dumps.entry(pair.source).or_insert_with(|| dump(source, folder, &pair.source.name("source")));
        let copy = dump(target, folder, &stream);
        let rules = Rules { born_timestamp: pair.exact, ..copy_rules() };
        let verdict = judge_dumps(original, &copy, SET, &rules);
        let (problems, kinds) = contents(pair, original, &copy);
        let outcome = Outcome { pair: *pair, verdict, problems, kinds };
        progress(&format!("{stream}: {}", if outcome.is_good() { "identical" } else { "DIFFERENT" }));
        outcomes.push(outcome);
    }
    FidelityReport { outcomes, seconds: started.elapsed().as_secs() }
}

fn start(pairs: &[Pair], progress: &mut dyn FnMut(&str)) -> Suite {
    let folder = tempfile::Builder::new().prefix("causeway-fidelity-").tempdir().unwrap();
    let node = Node::start(&folder.path().join("node"), &NodeSettings::default());
    let mut suite = Suite { node, sources: BTreeMap::new(), targets: BTreeMap::new(), folder: Some(folder) };
    for pair in pairs {
        if !suite.sources.contains_key(&pair.source) {
            let name = pair.source.name("source");
            progress(&format!("starting and filling {name}"));
            let cluster = cluster(pair.source, "source");
            cluster.admin().create_topic(SET, QUEUES);
            java::produce_fidelity_set(&cluster.access(), SET, 7, pair.source.version.is_five());
            suite.node.register(&name, &cluster.access());
            suite.sources.insert(pair.source, cluster);
        }
        if !suite.targets.contains_key(&pair.target) {
            let name = pair.target.name("target");
            progress(&format!("starting {name}"));
            let cluster = cluster(pair.target, "target");
            suite.node.register(&name, &cluster.access());
            suite.targets.insert(pair.target, cluster);
        }
    }
    suite
}

fn cluster(side: Side, role: &str) -> Cluster {
    let ip = if side.ipv6 { IpVersion::V6 } else { IpVersion::V4 };
    Cluster::start(ClusterSettings { name: side.name(role), ip, ..ClusterSettings::new(side.version) })
}

/// What must be true of the dumps whatever the judges say: that nothing they compared was missing on both sides.
fn contents(pair: &Pair, source: &Path, target: &Path) -> (Vec<String>, usize) {
    let mut problems = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut sequences: BTreeMap<String, i64> = BTreeMap::new();
    let mut fifo = 0;
    for copy in messages(target) {
        if let Some(case) = copy.properties.get("case") {
            *kinds.entry(case.clone()).or_default() += 1;
        }
        if let (Some(shard), Some(sequence)) = (copy.properties.get("__SHARDINGKEY"), copy.properties.get("sequence")) {
            let sequence: i64 = sequence.parse().expect("a sequence is a number");
            fifo += 1;
            if sequences.insert(shard.clone(), sequence).is_some_and(|before| before >= sequence) {
                problems.push(format!("sharding key {shard}: {sequence} stands too late"));
            }
        }
    }
    let timers: &[&str] = if pair.source.version.is_five() { &TIMERS } else { &[] };
    let wanted = CASES.iter().chain(&MATURED).chain(timers);
    problems.extend(wanted.filter(|case| !kinds.contains_key(**case)).map(|case| format!("no message of kind {case}")));
    if kinds.contains_key("rolled-back") {
        problems.push("a rolled back transaction was copied".to_owned());
    }
    if fifo != 100 {
        problems.push(format!("{fifo} messages with a sharding key, not 100"));
    }
    let host = if pair.source.ipv6 { "/[0:0:0:0:0:0:0:1]" } else { "/127.0.0.1:" };
    if !messages(source).any(|message| message.born_host.starts_with(host)) {
        problems.push(format!("no source message was born at {host}"));
    }
    (problems, kinds.len())
}

fn messages(path: &Path) -> impl Iterator<Item = Message> {
    let lines = Lines::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    lines.filter_map(|line| match line.unwrap_or_else(|error| panic!("a dump cannot be read: {error}")) {
        (_, Line::Message(message)) => Some(message),
        (_, Line::Header(_)) => None,
    })
}
