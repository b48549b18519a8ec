//! Nothing lost, doubled or reordered while everything is killed: numbered messages flow over eight queues, the node is
//! killed with SIGKILL again and again, and both brokers are restarted.
//!
//! Reading order: [`CrashPlan`] (what will happen), [`run`], [`report`] (what happened). Every kill is measured: the
//! checkpoints that the next start found, and the end of the target's queues at that time. What lies between is the
//! tail that the start had to find by reading the target; a run whose kills found too few tails proves nothing and
//! fails.

pub mod report;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::brokers::{ClusterSettings, Version};
use crate::java::{self, Numbered};
use crate::process::Process;
use crate::random::Random;
use crate::scenario::node::NodeSettings;
use crate::scenario::view::{Partition, Queue};
use crate::scenario::{NAME, PATIENCE, Scenario, ends, total};
pub use report::{CrashReport, Kill};

/// Which broker is restarted, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// The target's broker, asked to end.
    Target,
    /// The target's broker, killed.
    TargetKilled,
    /// The source's broker, asked to end.
    Source,
    /// The source's broker, killed.
    SourceKilled,
}

/// When a kill strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Messages arrive and are copied.
    Traffic,
    /// A backlog that grew while the node was down is copied.
    Backlog,
    /// The node has just started and settles or reads the tail.
    Start,
}

/// One kill, and what happens before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// When the kill strikes.
    pub moment: Moment,
    /// A broker that is restarted while the node runs, before the kill.
    pub restart: Option<Restart>,
}

/// What will happen.
#[derive(Debug, Clone)]
pub struct CrashPlan {
    /// The source's release.
    pub source: Version,
    /// The target's release.
    pub target: Version,
    /// Messages in all; the source may hold a few more, because its producer repeats sends that failed.
    pub messages: u64,
    /// Queues of the topic.
    pub queues: u32,
    /// Messages per second while they arrive.
    pub rate: u64,
    /// Time between two checkpoints. Longer than the default so that tails are long.
    pub checkpoint_interval_ms: u64,
    /// How long a start waits for what its predecessor sent; connection.unacknowledged_ms is half a second less. `None`
    /// for the defaults.
    pub settle_ms: Option<u64>,
    /// The kills, in order.
    pub rounds: Vec<Round>,
    /// How many restarts must find a tail beyond the checkpoint that the killed process made.
    pub wanted_tails: usize,
    /// Chooses the moments within a round.
    pub seed: u64,
}

impl CrashPlan {
    /// The short form: five kills and one restart of the target's broker.
    pub fn short() -> Self {
        let round = |moment, restart| Round { moment, restart };
        Self {
            source: Version::V4_9_7,
            target: Version::V5_5_0,
            messages: 20_000,
            queues: 8,
            rate: 2_000,
            checkpoint_interval_ms: 2_000,
            settle_ms: Some(2_500),
            rounds: vec![
                round(Moment::Traffic, None),
                round(Moment::Traffic, Some(Restart::Target)),
                round(Moment::Backlog, None),
                round(Moment::Start, None),
                round(Moment::Traffic, None),
            ],
            wanted_tails: 3,
            seed: 1,
        }
    }

    /// The long form: twenty kills, three restarts of the target's broker, two of the source's.
    pub fn long(source: Version, target: Version) -> Self {
        let rounds = (0..20).map(|number| Round {
            moment: match number {
                3 | 8 | 14 => Moment::Backlog,
                5 | 11 | 17 => Moment::Start,
                _ => Moment::Traffic,
            },
            restart: match number {
                2 => Some(Restart::Target),
                6 => Some(Restart::Source),
                9 => Some(Restart::TargetKilled),
                13 => Some(Restart::SourceKilled),
                16 => Some(Restart::Target),
                _ => None,
            },
        });
        Self {
            source,
            target,
            messages: 200_000,
            rate: 4_000,
            settle_ms: None,
            rounds: rounds.collect(),
            wanted_tails: 10,
            seed: 20,
            ..Self::short()
        }
    }

    /// Parts into which the messages are cut: one for each round that needs traffic of its own, and one at the end.
    fn parts(&self) -> u64 {
        let rounds = self.rounds.iter().filter(|round| round.moment != Moment::Start).count();
        u64::try_from(rounds).unwrap() + 1
    }

    fn count(&self, restarts: &[Restart]) -> usize {
        self.rounds.iter().filter(|round| round.restart.is_some_and(|restart| restarts.contains(&restart))).count()
    }
}

/// Lets everything happen and judges the result.
pub fn run(plan: &CrashPlan, progress: &mut dyn FnMut(&str)) -> CrashReport {
    let started = Instant::now();
    let mut settings = NodeSettings::default().key("schedule.checkpoint_interval_ms", plan.checkpoint_interval_ms);
    if let Some(settle) = plan.settle_ms {
        settings = settings.key("replication.settle_ms", settle).key("connection.unacknowledged_ms", settle - 500);
    }
    let (source, target) = (ClusterSettings::new(plan.source), ClusterSettings::new(plan.target));
    let scenario = Scenario::start(source, target, plan.queues, &settings);
    let mut course = Course::new(plan, scenario);
    for (number, round) in plan.rounds.iter().enumerate() {
        course.lead_up(round, progress);
        course.kill(number + 1, round);
        // A backlog grows while the node is down; its round starts the node.
        if plan.rounds.get(number + 1).is_none_or(|next| next.moment != Moment::Backlog) {
            course.start(progress);
        }
    }
    course.produce_beside(plan.messages - course.produced);
    course.wait_producers();
    progress("no more messages; waiting until all are copied");
    let Course { mut scenario, kills, .. } = course;
    scenario.wait_caught_up();
    let zombies = zombies(&scenario.node.partitions(NAME));
    let stopped_cleanly = scenario.node.stop().success();
    let verdict = scenario.judge();
    progress(&verdict.to_string());
    CrashReport { plan: plan.clone(), kills, verdict, zombies, stopped_cleanly, seconds: started.elapsed().as_secs() }
}

fn zombies(partitions: &[Partition]) -> u64 {
    partitions.iter().filter_map(|partition| partition.figures).map(|figures| figures.zombie_writes).sum()
}

/// A run under way.
struct Course<'a> {
    plan: &'a CrashPlan,
    scenario: Scenario,
    random: Random,
    produced: u64,
    producers: Vec<Process>,
    kills: Vec<Kill>,
    /// What the target held at the last look.
    copied: i64,
    /// What the target held when the running process was started.
    copied_at_start: i64,
}

impl<'a> Course<'a> {
    fn new(plan: &'a CrashPlan, scenario: Scenario) -> Self {
        let random = Random(plan.seed);
        let (producers, kills) = (Vec::new(), Vec::new());
        Self { plan, scenario, random, produced: 0, producers, kills, copied: 0, copied_at_start: 0 }
    }

    /// Everything of a round before its kill: returns at the moment of the kill.
    fn lead_up(&mut self, round: &Round, progress: &mut dyn FnMut(&str)) {
        let part = self.plan.messages / self.plan.parts();
        match round.moment {
            Moment::Start => return,
            Moment::Traffic => {
                // What was produced before must not pass for what arrives now.
                self.wait_copying();
                self.wait_producers();
                self.scenario.wait_caught_up();
                self.copied = total(self.scenario.target_topic());
                self.produce_beside(part);
            }
            Moment::Backlog => {
                let numbered = self.next_part(part);
                java::produce_numbered(&self.scenario.source.access(), NAME, &numbered);
                self.start(progress);
            }
        }
        let hundredth = i64::try_from(part).unwrap() / 100;
        if let Some(restart) = round.restart {
            self.wait_copied(hundredth * 5);
            self.restart_broker(restart);
            self.copied = total(self.scenario.target_topic());
        }
        let share = i64::try_from(5 + self.random.below(50)).unwrap();
        self.wait_copied(hundredth * share);
    }

    fn restart_broker(&mut self, restart: Restart) {
        let cluster = match restart {
            Restart::Target | Restart::TargetKilled => &mut self.scenario.target,
            Restart::Source | Restart::SourceKilled => &mut self.scenario.source,
        };
        let broker = &mut cluster.brokers[0];
        match restart {
            Restart::Target | Restart::Source => broker.stop(),
            Restart::TargetKilled | Restart::SourceKilled => broker.kill9(),
        }
        broker.start();
    }

    fn next_part(&mut self, messages: u64) -> Numbered {
        let first = self.produced;
        self.produced += messages;
        Numbered { first, rate: self.plan.rate, ..Numbered::new(messages) }
    }

    fn produce_beside(&mut self, messages: u64) {
        let numbered = self.next_part(messages);
        let log = self.scenario.folder().join(format!("producer-{}.log", numbered.first));
        self.producers.push(java::start_numbered(&self.scenario.source.access(), NAME, &numbered, &log));
    }

    fn wait_producers(&mut self) {
        for mut producer in self.producers.drain(..) {
            let status = producer.wait(Duration::from_secs(600));
            assert!(status.success(), "a producer failed:\n{}", producer.log_tail(40));
        }
    }

    /// Waits until every partition is past its start, so that what is produced next is copied as it arrives.
    fn wait_copying(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let partitions = self.scenario.node.partitions(NAME);
            let copies = |partition: &Partition| matches!(partition.state.as_str(), "running" | "catching_up");
            if !partitions.is_empty() && partitions.iter().all(copies) {
                return;
            }
            assert!(Instant::now() < deadline, "not copying after {PATIENCE:?}: {partitions:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the target holds this many more messages than at the last look, or all that there are to be.
    fn wait_copied(&self, growth: i64) {
        let deadline = Instant::now() + PATIENCE;
        let goal = (self.copied + growth).min(i64::try_from(self.produced).unwrap());
        loop {
            let copied = total(self.scenario.target_topic());
            if copied >= goal {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} copied at the last look, {copied} now, waited {PATIENCE:?} for {growth} more: {:#?}",
                self.copied,
                self.scenario.node.partitions(NAME)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the node and measures what is there. The tail is known when the next process has started.
    fn kill(&mut self, number: usize, round: &Round) {
        self.scenario.node.kill9();
        let target_ends = self.stable_target_ends();
        self.copied = target_ends.values().sum();
        self.kills.push(Kill {
            number,
            moment: round.moment,
            restart: round.restart,
            source_end: total(self.scenario.source_topic()),
            target_end: self.copied,
            copied_in_life: self.copied - self.copied_at_start,
            target_ends,
            tail: Vec::new(),
        });
    }

    /// Where the target's queues end when nothing moves any more: what the kernel had of the killed process may still
    /// arrive, and queues are built a moment after messages are stored.
    fn stable_target_ends(&self) -> BTreeMap<Queue, i64> {
        let mut last = ends(self.scenario.target_topic());
        let mut equal = 0;
        while equal < 3 {
            std::thread::sleep(Duration::from_millis(100));
            let now = ends(self.scenario.target_topic());
            equal = if now == last { equal + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// Starts the node after a kill and completes the account of that kill by the checkpoints which the start found. A
    /// checkpoint of the new process says nothing about that, so its queue counts as one without a tail.
    fn start(&mut self, progress: &mut dyn FnMut(&str)) {
        self.scenario.node.start_again();
        let partitions = self.scenario.node.partitions(NAME);
        self.copied_at_start = self.copied;
        let kill = self.kills.last_mut().expect("the node was killed before");
        kill.tail = partitions
            .iter()
            .filter(|partition| partition.checkpoint.is_none_or(|checkpoint| checkpoint.epoch < partition.epoch))
            .map(|partition| {
                let known = partition.checkpoint.map_or(0, |checkpoint| checkpoint.target_next);
                kill.target_ends.get(&partition.target).map_or(0, |end| end - known)
            })
            .collect();
        progress(&kill.to_string());
    }
}
