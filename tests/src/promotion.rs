//! A target that forgets: its master dies before the slave has the last seconds, and the slave becomes master.
//!
//! Acknowledged copies are gone then, and the checkpoints are ahead of the target. Nothing may be missing in the end,
//! in order, and the stream has to show the rewind. Two ways: with messages arriving all the time, and in silence,
//! where no later message draws attention to the loss.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::brokers::{ClusterSettings, Slaves, Version};
use crate::java::{self, Numbered};
use crate::scenario::markdown::{Table, grouped, heading};
use crate::scenario::node::NodeSettings;
use crate::scenario::view::Queue;
use crate::scenario::{NAME, PATIENCE, Scenario, Verdict, ends, total};

/// Queues of the topic.
const QUEUES: u32 = 4;

/// Whether messages arrive while the slave is promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// All the time.
    Steady,
    /// None after the master's death.
    Silent,
}

/// What will happen.
#[derive(Debug, Clone, Copy)]
pub struct PromotionPlan {
    /// The source's release.
    pub source: Version,
    /// The target's release.
    pub target: Version,
    /// Whether messages arrive meanwhile.
    pub arrivals: Arrivals,
    /// Messages that the slave receives.
    pub replicated: u64,
    /// Messages that only the master has.
    pub unreplicated: u64,
}

/// What happened.
#[derive(Debug, Clone)]
pub struct PromotionReport {
    /// What was planned.
    pub plan: PromotionPlan,
    /// Copies below the committed checkpoints that the promoted slave did not have.
    pub forgotten: i64,
    /// Rewinds that the stream shows, over all partitions.
    pub rewinds: u64,
    /// Queues that show no rewind; every queue forgot committed copies.
    pub without_rewind: Vec<Queue>,
    /// From the promotion until everything was at the target again.
    pub repair: Duration,
    /// What both judges say.
    pub verdict: Verdict,
}

impl PromotionReport {
    /// Everything that is wrong; empty when the run passed.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if !self.verdict.is_good() {
            failures.push(self.verdict.to_string());
        }
        if !self.without_rewind.is_empty() {
            failures.push(format!("no rewind is shown of {:?}", self.without_rewind));
        }
        failures
    }
}

/// Lets it happen and judges the result.
pub fn run(plan: PromotionPlan, progress: &mut dyn FnMut(&str)) -> PromotionReport {
    // A slave asks who its master is when it registers, and knows topics only after that; 30 seconds is the default.
    let target = ClusterSettings::new(plan.target).property("registerNameServerPeriod", "10000");
    let target = ClusterSettings { slaves: Slaves::Asynchronous, ..target };
    let mut scenario = Scenario::start(ClusterSettings::new(plan.source), target, QUEUES, &NodeSettings::default());
    let access = scenario.source.access();
    progress("both clusters run");
    java::produce_numbered(&access, NAME, &Numbered::new(plan.replicated));
    scenario.wait_caught_up();
    progress("the first part is copied");
    scenario.target.admin().wait_replicated(0, NAME, QUEUES);
    progress("the slave has everything so far and is stopped");
    let held = ends(scenario.target_topic());
    scenario.target.slaves[0].pause();
    let (first, messages) = (plan.replicated, plan.unreplicated);
    let producer = match plan.arrivals {
        Arrivals::Silent => {
            java::produce_numbered(&access, NAME, &Numbered { first, ..Numbered::new(messages) });
            scenario.wait_caught_up();
            None
        }
        Arrivals::Steady => {
            // As many again arrive while the slave is promoted and afterwards.
            let numbered = Numbered { first, rate: (messages / 4).max(1), ..Numbered::new(messages * 4) };
            let log = scenario.folder().join("producer.log");
            let producer = java::start_numbered(&access, NAME, &numbered, &log);
            let wanted = i64::try_from(first + messages).unwrap();
            wait(&format!("{wanted} copies"), || total(scenario.target_topic()) >= wanted);
            Some(producer)
        }
    };
    let committed = || -> BTreeMap<Queue, i64> {
        let partitions = scenario.node.partitions(NAME).into_iter();
        partitions.map(|partition| (partition.target, partition.checkpoint.map_or(0, |it| it.target_next))).collect()
    };
    wait("committed checkpoints beyond what the slave has", || {
        held.iter().all(|(queue, end)| committed().get(queue).is_some_and(|next| next > end))
    });
    let forgotten: i64 = committed().iter().map(|(queue, next)| next - held[queue]).sum();
    progress("the master is killed and the slave promoted");
    scenario.target.brokers[0].kill9();
    scenario.target.promote_slave(0);
    let started = Instant::now();
    if let Some(mut producer) = producer {
        let status = producer.wait(Duration::from_secs(600));
        assert!(status.success(), "the producer failed:\n{}", producer.log_tail(40));
    }
    scenario.wait_caught_up();
    let repair = started.elapsed();
    let partitions = scenario.node.partitions(NAME);
    let unshown = partitions.iter().filter(|partition| partition.rewinds == 0);
    let without_rewind: Vec<Queue> = unshown.map(|partition| partition.target.clone()).collect();
    let rewinds = partitions.iter().map(|partition| partition.rewinds).sum();
    let verdict = scenario.judge();
    progress(&format!("{rewinds} rewinds, {verdict}"));
    PromotionReport { plan, forgotten, rewinds, without_rewind, repair, verdict }
}

fn wait(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The report for the documentation.
pub fn markdown(runs: &[PromotionReport], command: &str) -> String {
    let passed = runs.iter().all(|run| run.failures().is_empty());
    let mut table = Table::new(&[
        "source",
        "target",
        "messages",
        "acknowledged copies forgotten",
        "rewinds",
        "repaired after",
        "lost",
        "doubled",
        "out of order",
        "verdict",
    ]);
    for run in runs {
        let report = &run.verdict.report;
        table.row(&[
            run.plan.source.to_string(),
            run.plan.target.to_string(),
            format!("{}, {}", grouped(i64::try_from(report.source_messages).unwrap()), run.plan.arrivals.shown()),
            grouped(run.forgotten),
            run.rewinds.to_string(),
            format!("{:.1} s", run.repair.as_secs_f64()),
            report.lost.to_string(),
            report.duplicated.to_string(),
            report.out_of_order.to_string(),
            if run.failures().is_empty() { "pass" } else { "FAIL" }.to_owned(),
        ]);
    }
    let failures: Vec<String> = runs.iter().flat_map(PromotionReport::failures).collect();
    format!(
        "{}The target is a master with a slave that it does not wait for (ASYNC_MASTER), both Apache's own. The slave is stopped \
         where it is (SIGSTOP); the master acknowledges more copies and their checkpoints are committed; the master is killed \
         and the slave started as master on another port. It has none of the later copies. *Forgotten* counts copies below \
         committed checkpoints. *Steady*: messages arrive all the time. *Silent*: none arrives after the master's death, so \
         nothing but the lost connection draws attention to the loss. In the end the promoted broker must hold each source \
         message once and in order.\n\n{}\n{}",
        heading("A target that forgets", command, passed),
        table.text(),
        failures.iter().map(|failure| format!("```\n{failure}\n```\n")).collect::<String>()
    )
}

impl Arrivals {
    fn shown(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Silent => "silent",
        }
    }
}
