//! What happened in a crash run, for people and for the documentation.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{CrashPlan, Moment, Restart};
use crate::scenario::Verdict;
use crate::scenario::markdown::{Table, grouped, heading};
use crate::scenario::view::Queue;

/// One kill, measured.
#[derive(Debug, Clone)]
pub struct Kill {
    /// Counted from 1.
    pub number: usize,
    /// When it struck.
    pub moment: Moment,
    /// The broker that was restarted before it.
    pub restart: Option<Restart>,
    /// Messages that the source held when all was quiet after the kill.
    pub source_end: i64,
    /// Messages that the target held then.
    pub target_end: i64,
    /// Copies that the killed process had made since it was started.
    pub copied_in_life: i64,
    /// Where each target queue ended.
    pub target_ends: BTreeMap<Queue, i64>,
    /// For each queue whose checkpoint the next start found unchanged: target messages beyond the checkpoint.
    pub tail: Vec<i64>,
}

impl Kill {
    /// Target messages beyond the checkpoints that the next start found.
    pub fn tail_messages(&self) -> i64 {
        self.tail.iter().sum()
    }

    /// Queues that had some.
    pub fn tail_queues(&self) -> usize {
        self.tail.iter().filter(|messages| **messages > 0).count()
    }

    /// Whether the killed process itself left messages beyond a checkpoint.
    pub fn left_a_tail(&self) -> bool {
        self.copied_in_life > 0 && self.tail_messages() > 0
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "kill {} ({}", self.number, self.moment.shown())?;
        if let Some(restart) = self.restart {
            write!(out, ", {}", restart.shown())?;
        }
        write!(
            out,
            "): {} of {} copied, {} of them by this process, {} beyond the checkpoints in {} queues",
            self.target_end,
            self.source_end,
            self.copied_in_life,
            self.tail_messages(),
            self.tail_queues()
        )
    }
}

impl Moment {
    fn shown(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Backlog => "backlog",
            Self::Start => "at start",
        }
    }
}

impl Restart {
    fn shown(self) -> &'static str {
        match self {
            Self::Target => "target restarted",
            Self::TargetKilled => "target killed, restarted",
            Self::Source => "source restarted",
            Self::SourceKilled => "source killed, restarted",
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub struct CrashReport {
    /// What was planned.
    pub plan: CrashPlan,
    /// Every kill.
    pub kills: Vec<Kill>,
    /// What both judges say.
    pub verdict: Verdict,
    /// Copies of dead owners that the last process found.
    pub zombies: u64,
    /// Whether the last process ended with success when asked to.
    pub stopped_cleanly: bool,
    /// How long it took.
    pub seconds: u64,
}

impl CrashReport {
    /// Restarts that found messages which the killed process had sent and not yet written down.
    pub fn tails(&self) -> usize {
        self.kills.iter().filter(|kill| kill.left_a_tail()).count()
    }

    /// Everything that is wrong; empty when the run passed.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if !self.verdict.is_good() {
            failures.push(self.verdict.to_string());
        }
        let expected = usize::try_from(self.plan.messages).unwrap();
        if self.verdict.report.source_messages < expected {
            failures.push(format!("the source holds {} messages, not {expected}", self.verdict.report.source_messages));
        }
        if self.kills.len() != self.plan.rounds.len() {
            failures.push(format!("{} kills, not {}", self.kills.len(), self.plan.rounds.len()));
        }
        if self.tails() < self.plan.wanted_tails {
            failures.push(format!(
                "only {} restarts found a tail beyond the checkpoint, {} are wanted: the run proves nothing",
                self.tails(),
                self.plan.wanted_tails
            ));
        }
        if !self.stopped_cleanly {
            failures.push("the node did not end with success when it was asked to".to_owned());
        }
        failures
    }

    /// A line for each kill.
    pub fn kills_table(&self) -> Table {
        let mut table = Table::new(&[
            "kill",
            "moment",
            "before it",
            "in the source",
            "at the target",
            "copied by this process",
            "beyond the checkpoints",
            "queues with a tail",
        ]);
        for kill in &self.kills {
            table.row(&[
                kill.number.to_string(),
                kill.moment.shown().to_owned(),
                kill.restart.map_or("", Restart::shown).to_owned(),
                grouped(kill.source_end),
                grouped(kill.target_end),
                grouped(kill.copied_in_life),
                grouped(kill.tail_messages()),
                kill.tail_queues().to_string(),
            ]);
        }
        table
    }
}

/// The report for the documentation, over one or more runs.
pub fn markdown(runs: &[CrashReport], command: &str) -> String {
    let passed = runs.iter().all(|run| run.failures().is_empty());
    let mut text = heading("Killed again and again", command, passed);
    text.push_str(
        "Numbered messages are sent by Apache's Java client to a source broker and copied to a target broker, both Apache's own. \
         The node is killed with SIGKILL while messages arrive (*traffic*), while it copies a backlog that grew while it was down \
         (*backlog*), or right after its start, while it settles or reads the tail (*at start*). Brokers are restarted while the \
         node runs. After each kill the target's queues are read until they stand still; the next start's checkpoints are read \
         before it makes its own. *Beyond the checkpoints* is what the target held and the checkpoints did not cover: the copies \
         that the start had to find by reading the tail, and must not send again. Both topics are read back with Apache's Java \
         client; the checker recognises copies by content, a second judge by provenance.\n",
    );
    for run in runs {
        let CrashPlan { source, target, messages, queues, rate, checkpoint_interval_ms, wanted_tails, .. } = &run.plan;
        let report = &run.verdict.report;
        let restarts = |wanted: &[Restart]| run.plan.count(wanted);
        write!(
            text,
            "\n## {source} to {target}\n\n\
             {} messages in {queues} queues at {} messages/s, {} kills, {} restarts of the target's broker, {} of the source's, {} \
             seconds. `schedule.checkpoint_interval_ms = {checkpoint_interval_ms}` (default 400), so that there are tails to find: \
             {} restarts found a tail that the killed process had left (at least {wanted_tails} are wanted).\n\n",
            grouped(i64::try_from(*messages).unwrap()),
            grouped(i64::try_from(*rate).unwrap()),
            run.kills.len(),
            restarts(&[Restart::Target, Restart::TargetKilled]),
            restarts(&[Restart::Source, Restart::SourceKilled]),
            run.seconds,
            run.tails(),
        )
        .unwrap();
        let mut table = Table::new(&[
            "in the source",
            "at the target",
            "lost",
            "doubled",
            "out of order",
            "altered",
            "epochs",
            "verdict",
        ]);
        table.row(&[
            grouped(i64::try_from(report.source_messages).unwrap()),
            grouped(i64::try_from(report.target_messages).unwrap()),
            report.lost.to_string(),
            report.duplicated.to_string(),
            report.out_of_order.to_string(),
            (report.altered + report.moved + report.foreign + report.corrupt).to_string(),
            run.verdict.findings.epochs.to_string(),
            if run.failures().is_empty() { "pass" } else { "FAIL" }.to_owned(),
        ]);
        write!(text, "{}\n{}", table.text(), run.kills_table().text()).unwrap();
        for failure in run.failures() {
            write!(text, "\n```\n{failure}\n```\n").unwrap();
        }
    }
    text.push_str(
        "\nThe source may hold more messages than were numbered: Apache's producer repeats a send whose answer was lost when \
         its broker restarted. Each repetition is a source message like any other and is copied once.\n",
    );
    text
}
