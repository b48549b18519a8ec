//! What happened in a run of chaos, for people and for the documentation.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

pub use super::course::ChaosEvent;
use super::{ChaosPlan, DELAY, REGIONS, VOTERS};
use crate::scenario::Verdict;
use crate::scenario::markdown::{Table, grouped, heading};

/// What happened.
#[derive(Debug, Clone)]
pub struct ChaosReport {
    /// What was planned.
    pub plan: ChaosPlan,
    /// Every blow.
    pub events: Vec<ChaosEvent>,
    /// Blows that came when there were no more messages: they prove nothing.
    pub idle: usize,
    /// What both judges say.
    pub verdict: Verdict,
    /// Copies of dead owners that Causeway itself reported.
    pub late: u64,
    /// How often Causeway believed that the target had lost something.
    pub rewinds: u64,
    /// Ownerships of all partitions together.
    pub epochs: u64,
    /// Connections between nodes.
    pub connections: u64,
    /// Nodes that did not end with success when they were asked to.
    pub unclean: Vec<String>,
    /// Lines of errors in the nodes' logs.
    pub complaints: Vec<String>,
    /// How long it took.
    pub seconds: u64,
}

impl ChaosReport {
    /// Everything that is wrong; empty when the run passed.
    pub fn failures(&self) -> Vec<String> {
        let (mut failures, found, plan) = (Vec::new(), &self.verdict.report, &self.plan);
        let wrong = found.lost + found.out_of_order + found.altered + found.moved + found.foreign + found.corrupt;
        // Where nothing came twice both judges have to be content, with the epochs too.
        if wrong > 0 || found.duplicated == 0 && !self.verdict.is_good() {
            failures.push(self.verdict.to_string());
        }
        if u64::try_from(found.source_messages).unwrap() != plan.messages {
            failures.push(format!("{} messages in the source, not {}", found.source_messages, plan.messages));
        }
        if u64::try_from(found.duplicated).unwrap() != self.late {
            failures.push(format!("{} messages came twice, and Causeway reported {}", found.duplicated, self.late));
        }
        if self.late > 0 && plan.pauses == 0 {
            failures.push(format!("{} copies of dead owners, and nobody stood still", self.late));
        }
        if self.events.len() != plan.kills + plan.pauses + plan.cuts {
            failures.push(format!("{} events, not all that were planned", self.events.len()));
        }
        if self.idle > 0 {
            failures.push(format!("{} events came when there were no more messages", self.idle));
        }
        if plan.kills > 0 && self.takeovers() == 0 {
            failures.push("nobody took over from anybody: it proves nothing".to_owned());
        }
        let links = u64::try_from(REGIONS.len() * (REGIONS.len() - 1)).unwrap();
        if self.connections < links {
            failures.push(format!("only {} connections of {links} links were told apart", self.connections));
        }
        if self.rewinds > 0 {
            failures.push(format!("{} rewinds, and the target never lost anything", self.rewinds));
        }
        failures.extend(self.unclean.iter().map(|node| format!("{node} did not end with success")));
        failures.extend(self.complaints.iter().map(|line| format!("an error in a log: {line}")));
        failures
    }

    fn takeovers(&self) -> u64 {
        self.events.iter().map(|event| event.takeovers).sum()
    }

    /// A line for each kind of blow.
    pub fn table(&self) -> Table {
        let mut kinds: BTreeMap<_, Vec<&ChaosEvent>> = BTreeMap::new();
        for event in &self.events {
            kinds.entry(event.blow).or_default().push(event);
        }
        let mut table = Table::new(&[
            "blow",
            "times",
            "takeovers",
            "tails read",
            "with copies",
            "median failover",
            "longest",
            "others' longest",
        ]);
        for (blow, events) in kinds {
            let tails: Vec<i64> = events.iter().flat_map(|event| event.tails.iter().copied()).collect();
            let mut failovers: Vec<Duration> =
                events.iter().flat_map(|event| event.failovers.iter().copied()).collect();
            failovers.sort();
            let shown =
                |time: Option<&Duration>| time.map_or(String::new(), |time| format!("{:.2} s", time.as_secs_f64()));
            table.row(&[
                format!("{blow:?}"),
                events.len().to_string(),
                events.iter().map(|event| event.takeovers).sum::<u64>().to_string(),
                tails.len().to_string(),
                tails.iter().filter(|tail| **tail > 0).count().to_string(),
                shown(failovers.get(failovers.len() / 2)),
                shown(failovers.last()),
                shown(events.iter().map(|event| &event.others).max()),
            ]);
        }
        table
    }

    fn judgement(&self) -> Table {
        let found = &self.verdict.report;
        let mut table = Table::new(&[
            "in the source",
            "at the target",
            "lost",
            "out of order",
            "came twice",
            "reported as late",
            "altered",
            "ownerships",
            "verdict",
        ]);
        table.row(&[
            grouped(i64::try_from(found.source_messages).unwrap()),
            grouped(i64::try_from(found.target_messages).unwrap()),
            found.lost.to_string(),
            found.out_of_order.to_string(),
            found.duplicated.to_string(),
            self.late.to_string(),
            (found.altered + found.moved + found.foreign + found.corrupt).to_string(),
            self.epochs.to_string(),
            if self.failures().is_empty() { "pass" } else { "FAIL" }.to_owned(),
        ]);
        table
    }
}

/// The report for the documentation.
pub fn markdown(run: &ChaosReport, command: &str) -> String {
    let failures = run.failures();
    let mut text = heading("Nodes in two regions die, stand still and lose their links", command, failures.is_empty());
    let ChaosPlan { source, target, messages, rate, queues, seed, .. } = &run.plan;
    let delay = DELAY.as_millis();
    writeln!(
        text,
        "Numbered messages are sent by Apache's Java client to a source broker ({source}) and copied to a target broker \
         ({target}), both Apache's own, by {VOTERS} voters and {} learners on one machine, in two regions: {}. What one \
         region sends the other is delivered {delay} ms later, each way. Nodes are killed (SIGKILL) and started up to four \
         seconds later, stopped (SIGSTOP) for three to nine seconds, and links between two nodes are cut, one way or \
         both, for one to ten seconds: connections stay open and nothing arrives. One seed chooses everything. A \
         *takeover* is an ownership that began; a *tail with copies* is one in which the new owner finds copies that \
         no checkpoint names; a *failover* is the longest time for which copies of a partition that was taken over did \
         not arrive. At the end both topics are read back with Apache's Java client and judged by content and by \
         provenance. What came twice has to be exactly what Causeway itself reported as written by a dead owner.\n\n\
         Seed {seed}; {} messages at {} a second over {queues} queues; {} connections between nodes; {} seconds.\n",
        REGIONS.len() - VOTERS,
        REGIONS.join(", "),
        grouped(i64::try_from(*messages).unwrap()),
        grouped(i64::try_from(*rate).unwrap()),
        run.connections,
        run.seconds,
    )
    .unwrap();
    write!(text, "{}\n{}", run.judgement().text(), run.table().text()).unwrap();
    for failure in failures {
        write!(text, "\n```\n{failure}\n```\n").unwrap();
    }
    text
}
