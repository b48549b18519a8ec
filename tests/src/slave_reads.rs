//! A source whose slave is read: because the master is gone, or because an operator allowed it and the master asks for
//! it.
//!
//! [`takeover`] kills the master twice. The first time its slave has everything: copying goes on there to the last
//! message, and goes back to the master once that is there again. The second time the slave lacks messages that were
//! copied already: nothing may be copied, skipped or rewound, and the status has to say what is waited for. [`cold`]
//! sets a master to send its readers away and compares a stream that follows with one that does not.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::brokers::admin::TopicSettings;
use crate::brokers::{ClusterSettings, Slaves, Version};
use crate::checker::Rules;
use crate::java::{self, Numbered};
use crate::scenario::markdown::{Table, grouped, heading};
use crate::scenario::node::NodeSettings;
use crate::scenario::view::{Partition, Queue};
use crate::scenario::{NAME, PATIENCE, Scenario, Topic, Verdict, copy_rules, ends, judge, total, wait_caught_up};

/// Queues of the topic; the last one never gets a message.
const QUEUES: u32 = 4;

/// The stream that follows its source's suggestions, and its target topic.
const COLD: &str = "orders-cold";

/// What a partition says while it reads a slave.
const FROM_SLAVE: &str = "a slave of the source is read";

/// What will happen.
#[derive(Debug, Clone, Copy)]
pub struct SlaveReadsPlan {
    /// The source's release.
    pub source: Version,
    /// The target's release.
    pub target: Version,
    /// Messages of each step.
    pub messages: u64,
}

/// What happened while the master was gone.
#[derive(Debug, Clone)]
pub struct TakeoverReport {
    /// What was planned.
    pub plan: SlaveReadsPlan,
    /// Messages that were read from the slave while the master was gone.
    pub from_slave: u64,
    /// From the first death of the master until the slave's last message was copied.
    pub taken_over: Duration,
    /// From the master's return until it was read again.
    pub returned: Duration,
    /// From its second return until everything was copied, the wait for new messages included.
    pub released: Duration,
    /// What the partitions said while only a slave was there that lacks messages.
    pub whys: Vec<String>,
    /// Everything that was not as it should be on the way.
    pub problems: Vec<String>,
    /// What both judges say in the end.
    pub verdict: Verdict,
}

/// What the stream that may read slaves did beside the one that may not.
#[derive(Debug, Clone)]
pub struct ColdReport {
    /// What was planned.
    pub plan: SlaveReadsPlan,
    /// Messages that were read from the slave, with leave.
    pub followed: u64,
    /// The same, without leave.
    pub unasked: u64,
    /// What both judges say of each stream's copy.
    pub verdicts: [Verdict; 2],
}

impl TakeoverReport {
    /// Everything that is wrong; empty when the run passed.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = self.problems.clone();
        if !self.verdict.is_good() {
            failures.push(self.verdict.to_string());
        }
        failures
    }
}

impl ColdReport {
    /// Everything that is wrong; empty when the run passed.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = Vec::new();
        if self.followed == 0 {
            failures.push("the slave was never read though the stream may".to_owned());
        }
        if self.unasked > 0 {
            failures.push(format!("{} messages were read from the slave without leave", self.unasked));
        }
        failures.extend(self.verdicts.iter().filter(|verdict| !verdict.is_good()).map(ToString::to_string));
        failures
    }
}

/// Kills the master of a source, with a slave that has everything and with one that has not, and judges the result.
pub fn takeover(plan: SlaveReadsPlan, progress: &mut dyn FnMut(&str)) -> TakeoverReport {
    let mut scenario = start(plan, source(plan.source));
    progress("both clusters run");
    let mut steps = Steps { plan, produced: 0 };
    let mut problems = Vec::new();
    steps.produce(&scenario);
    scenario.wait_caught_up();
    if from_slave(&partitions(&scenario)) > 0 {
        problems.push("a slave was read while the master was there".to_owned());
    }
    progress("the first part is copied from the master");

    scenario.node.process().pause();
    steps.produce(&scenario);
    scenario.source.admin().wait_replicated(0, NAME, QUEUES);
    let held = ends(scenario.source_topic());
    scenario.source.brokers[0].kill9();
    let killed = Instant::now();
    scenario.node.process().resume();
    wait(&scenario, "the slave's last message to be copied", |partitions| durable(partitions) == held);
    let taken_over = killed.elapsed();
    if total(scenario.target_topic()) != held.values().sum::<i64>() {
        problems.push(format!("{} messages at the target instead of {held:?}", total(scenario.target_topic())));
    }
    wait(&scenario, "every partition to say that a slave is read", |partitions| partitions.iter().all(reads_slave));
    let from_slave_then = from_slave(&partitions(&scenario));
    if from_slave_then == 0 {
        problems.push("no message was counted as read from the slave".to_owned());
    }
    progress(&format!("the rest is copied from the slave after {:.1} s", taken_over.as_secs_f64()));

    scenario.source.brokers[0].start();
    let back = Instant::now();
    wait(&scenario, "every partition to read the master again", |partitions| {
        partitions.iter().all(|partition| partition.state == "running" && partition.why.is_none())
    });
    let returned = back.elapsed();
    steps.produce(&scenario);
    scenario.wait_caught_up();
    if from_slave(&partitions(&scenario)) != from_slave_then {
        problems.push("a slave was read on though the master was back".to_owned());
    }
    progress(&format!("the master is read again after {:.1} s", returned.as_secs_f64()));

    scenario.source.admin().wait_replicated(0, NAME, QUEUES);
    scenario.source.slaves[0].stop();
    steps.produce(&scenario);
    scenario.wait_caught_up();
    let copied = ends(scenario.source_topic());
    scenario.source.brokers[0].kill9();
    scenario.source.slaves[0].start();
    let mut waiting = wait_standing(&scenario, &copied, true);
    scenario.node.kill9();
    scenario.node.start_again();
    // Name servers before 5.0 learn of topics from masters only. There was no broker for a moment, so they have no
    // route.
    waiting.extend(wait_standing(&scenario, &copied, plan.source.is_five()));
    problems.extend(wrong(&waiting, &copied));
    if ends(scenario.target_topic()) != copied {
        problems.push(format!("{:?} is at the target though {copied:?} was copied", ends(scenario.target_topic())));
    }
    let whys = waiting.iter().filter_map(|partition| partition.why.clone()).collect();
    progress("a slave that lacks messages is waited for");

    scenario.source.brokers[0].start();
    let back = Instant::now();
    steps.produce(&scenario);
    scenario.wait_caught_up();
    let released = back.elapsed();
    if let Some(rewound) = partitions(&scenario).iter().find(|partition| partition.rewinds > 0) {
        problems.push(format!("a rewind though the target lost nothing: {rewound:?}"));
    }
    let verdict = scenario.judge();
    progress(&format!("everything is copied {:.1} s after the master's return, {verdict}", released.as_secs_f64()));
    TakeoverReport { plan, from_slave: from_slave_then, taken_over, returned, released, whys, problems, verdict }
}

/// Lets a master send its readers to its slave and judges what a stream with leave and one without do.
pub fn cold(plan: SlaveReadsPlan, progress: &mut dyn FnMut(&str)) -> ColdReport {
    // With no memory for messages at all, whatever is not the newest message is to be read elsewhere.
    let mut scenario = start(plan, source(plan.source).property("accessMessageInMemoryMaxRatio", "0"));
    progress("both clusters run");
    let mut steps = Steps { plan, produced: 0 };
    steps.produce(&scenario);
    scenario.source.admin().wait_replicated(0, NAME, QUEUES);
    scenario.node.post(
        "/v1/streams",
        &json!({
            "name": COLD,
            "source": { "instance": "source", "topic": NAME, "start": "earliest" },
            "target": { "instance": "target", "topic": COLD },
            "run": { "slave_reads": "cold_catch_up" },
        }),
    );
    caught_up(&scenario);
    let followed = from_slave(&scenario.node.partitions(COLD));
    progress(&format!("{followed} messages are read from the slave"));
    scenario.source.slaves[0].stop();
    steps.produce(&scenario);
    caught_up(&scenario);
    let unasked = from_slave(&partitions(&scenario));
    progress("the slave is gone, and what it was asked for is read from the master");
    let folder = scenario.folder().join("dumps");
    let rules = Rules { born_timestamp: false, ..copy_rules() };
    let verdicts = [scenario.target_topic(), cold_topic(&scenario)]
        .map(|target| judge(scenario.source_topic(), target, &folder, &rules));
    ColdReport { plan, followed, unasked, verdicts }
}

/// What is sent, step by step.
struct Steps {
    plan: SlaveReadsPlan,
    produced: u64,
}

impl Steps {
    fn produce(&mut self, scenario: &Scenario) {
        let numbered = Numbered { first: self.produced, ..Numbered::new(self.plan.messages) };
        java::produce_numbered(&scenario.source.access(), NAME, &numbered);
        self.produced += self.plan.messages;
    }
}

fn source(version: Version) -> ClusterSettings {
    let settings = ClusterSettings::new(version).property("slaveReadEnable", "true");
    ClusterSettings { slaves: Slaves::Asynchronous, ..settings }
}

/// Starts everything. Polls are short: a partition says who answered when its poll ends. So is what a restart waits
/// for.
fn start(plan: SlaveReadsPlan, source: ClusterSettings) -> Scenario {
    let settings = NodeSettings::default()
        .key("replication.poll_wait_ms", 1_000)
        .key("connection.request_timeout_ms", 3_000)
        .key("replication.settle_ms", 4_000);
    let scenario = Scenario::start(source, ClusterSettings::new(plan.target), QUEUES, &settings);
    let topic = TopicSettings { write_queues: QUEUES - 1, ..TopicSettings::new(NAME, QUEUES) };
    scenario.source.admin().create_topic_with(&topic);
    scenario
}

fn cold_topic(scenario: &Scenario) -> Topic<'_> {
    Topic { cluster: &scenario.target, name: COLD, queues: QUEUES }
}

fn caught_up(scenario: &Scenario) {
    scenario.wait_caught_up();
    wait_caught_up(&scenario.node, COLD, scenario.source_topic(), cold_topic(scenario));
}

fn partitions(scenario: &Scenario) -> Vec<Partition> {
    scenario.node.partitions(NAME)
}

fn says(partition: &Partition, what: &str) -> bool {
    partition.why.as_ref().is_some_and(|why| why.contains(what))
}

/// Waits until every queue that `copied` has messages of is blocked by a slave that lacks some, and the empty one is
/// not. Where no name server has a route, all are blocked by that.
fn wait_standing(scenario: &Scenario, copied: &BTreeMap<Queue, i64>, has_route: bool) -> Vec<Partition> {
    wait(scenario, "every partition to say what it waits for", |partitions| {
        partitions.iter().all(|partition| {
            let (state, code, why) = match copied[&partition.source] {
                _ if !has_route => ("blocked", Some("CWY-0303"), "no route"),
                0 => ("running", None, FROM_SLAVE),
                _ => ("blocked", Some("CWY-0301"), "slave"),
            };
            partition.state == state && partition.code.as_deref() == code && says(partition, why)
        })
    })
}

/// What a partition must not say meanwhile.
fn wrong(waiting: &[Partition], copied: &BTreeMap<Queue, i64>) -> Vec<String> {
    let is_right = |partition: &&Partition| {
        let durable = partition.durable_next().unwrap_or(0);
        partition.fault.is_none() && partition.rewinds == 0 && durable == copied[&partition.source]
    };
    let wrong = waiting.iter().filter(|partition| !is_right(partition));
    wrong.map(|partition| format!("behind a slave that lacks messages: {partition:?}")).collect()
}

fn reads_slave(partition: &Partition) -> bool {
    partition.state == "running" && says(partition, FROM_SLAVE)
}

fn from_slave(partitions: &[Partition]) -> u64 {
    partitions.iter().filter_map(|partition| partition.figures).map(|figures| figures.slave_read_messages).sum()
}

fn durable(partitions: &[Partition]) -> BTreeMap<Queue, i64> {
    partitions.iter().map(|partition| (partition.source.clone(), partition.durable_next().unwrap_or(0))).collect()
}

/// Waits for something that the partitions show, and returns them.
fn wait(scenario: &Scenario, what: &str, reached: impl Fn(&[Partition]) -> bool) -> Vec<Partition> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = partitions(scenario);
        if reached(&found) {
            return found;
        }
        assert!(found.iter().all(|partition| partition.fault.is_none()), "waiting for {what}: a fault: {found:#?}");
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}: {found:#?}");
        sleep(Duration::from_millis(50));
    }
}

/// The report for the documentation.
pub fn markdown(takeovers: &[TakeoverReport], colds: &[ColdReport], command: &str) -> String {
    let mut failures: Vec<String> = takeovers.iter().flat_map(TakeoverReport::failures).collect();
    failures.extend(colds.iter().flat_map(ColdReport::failures));
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let shown = |failed: bool| if failed { "FAIL" } else { "pass" }.to_owned();
    let mut gone = Table::new(&[
        "source",
        "target",
        "messages",
        "read from the slave",
        "slave read to its end after",
        "master read again after",
        "all copied after the second return",
        "lost",
        "doubled",
        "out of order",
        "verdict",
    ]);
    for run in takeovers {
        let report = &run.verdict.report;
        gone.row(&[
            run.plan.source.to_string(),
            run.plan.target.to_string(),
            grouped(i64::try_from(report.source_messages).unwrap()),
            grouped(i64::try_from(run.from_slave).unwrap()),
            seconds(run.taken_over),
            seconds(run.returned),
            seconds(run.released),
            report.lost.to_string(),
            report.duplicated.to_string(),
            report.out_of_order.to_string(),
            shown(!run.failures().is_empty()),
        ]);
    }
    let mut followed =
        Table::new(&["source", "target", "messages", "from the slave with leave", "without leave", "verdict"]);
    for run in colds {
        followed.row(&[
            run.plan.source.to_string(),
            run.plan.target.to_string(),
            grouped(i64::try_from(run.verdicts[0].report.source_messages).unwrap()),
            grouped(i64::try_from(run.followed).unwrap()),
            grouped(i64::try_from(run.unasked).unwrap()),
            shown(!run.failures().is_empty()),
        ]);
    }
    format!(
        "{}The source is a master with a slave that it does not wait for (ASYNC_MASTER, `slaveReadEnable = true`), both Apache's \
         own. Causeway is stopped where it is (SIGSTOP) until the slave has everything; the master is killed and Causeway goes \
         on. Later the master comes back. Then the slave is stopped, more is copied from the master, the master is killed and \
         the slave started: it lacks what was copied last, so every partition has to wait, with the reason in its status, until \
         the master is back.\n\n{}\nThe master is told to send all readers to its slave \
         (`accessMessageInMemoryMaxRatio = 0`). One stream has `slave_reads = cold_catch_up`, the other the \
         default.\n\n{}\n{}",
        heading("A source whose slave is read", command, failures.is_empty()),
        gone.text(),
        followed.text(),
        failures.iter().map(|failure| format!("```\n{failure}\n```\n")).collect::<String>()
    )
}
