//! What happened in a failover run, for people and for the documentation.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Event, FailoverPlan, LEASE, LOST, PLANNED};
use crate::members::name;
use crate::scenario::Verdict;
use crate::scenario::markdown::{Table, grouped, heading};
use crate::scenario::view::Queue;

/// The longest time during which copies of one source queue did not arrive although there was something to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The source queue.
    pub queue: Queue,
    /// How long.
    pub lasted: Duration,
    /// Whether its partition began another ownership.
    pub affected: bool,
}

/// One event, measured.
#[derive(Debug, Clone)]
pub struct Happening {
    /// What it was.
    pub event: Event,
    /// The nodes that it struck.
    pub node: String,
    /// For each partition how long it stopped.
    pub stops: Vec<Stop>,
    /// How long it took until no partition was owned by a struck node as before; none where it owned none.
    pub reassigned: Option<Duration>,
    /// How long copies arrived after a quorum was lost.
    pub went_on: Option<Duration>,
    /// The longest time between two looks: no stop is known better.
    pub blind: Duration,
    /// What else is to be said.
    pub remarks: Vec<String>,
}

impl Happening {
    /// Stops of partitions that began another ownership, or did not, from short to long.
    fn lasted(&self, affected: bool) -> Vec<Duration> {
        let mut lasted: Vec<_> =
            self.stops.iter().filter(|stop| stop.affected == affected).map(|stop| stop.lasted).collect();
        lasted.sort();
        lasted
    }

    fn longest(&self) -> Duration {
        self.stops.iter().map(|stop| stop.lasted).max().unwrap_or_default()
    }

    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if let Some(limit) = self.event.limit().filter(|limit| self.longest() > *limit) {
            failures.push(format!("{self}: copying stopped for longer than {limit:?}"));
        }
        if self.went_on.is_some_and(|went_on| went_on > LEASE) {
            failures.push(format!("{self}: copies arrived later than {LEASE:?} after the quorum was lost"));
        }
        if self.event.has_to_strike() && self.lasted(true).is_empty() {
            failures.push(format!("{self}: no partition began another ownership: it proves nothing"));
        }
        failures
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (affected, others) = (self.lasted(true), self.lasted(false));
        write!(out, "{}", self.event.shown())?;
        if !self.node.is_empty() {
            write!(out, " {}", self.node)?;
        }
        write!(out, ": {} partitions", affected.len())?;
        if let Some(longest) = affected.last() {
            write!(out, " stopped for up to {} (median {})", seconds(*longest), seconds(median(&affected)))?;
        }
        if let Some(longest) = others.last() {
            write!(out, ", the others for up to {}", seconds(*longest))?;
        }
        if let Some(reassigned) = self.reassigned {
            write!(out, ", reassigned after {}", seconds(reassigned))?;
        }
        write!(out, ", looked every {}", seconds(self.blind))?;
        self.remarks.iter().try_for_each(|remark| write!(out, "; {remark}"))
    }
}

impl Event {
    fn shown(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::KillOwner => "owner killed".to_owned(),
            Self::KillAndStart => "owner killed, started at once".to_owned(),
            Self::KillLeader => "leader killed".to_owned(),
            Self::PauseOwner => "owner stands still for 8 s".to_owned(),
            Self::PauseLeader => "leader stands still for 8 s".to_owned(),
            Self::LoseQuorum => "all but one killed, one of them back".to_owned(),
            Self::Restart(_) => "restart".to_owned(),
            Self::Upgrade(_) => "upgrade".to_owned(),
            Self::Drain(_) => "drain".to_owned(),
            Self::Undrain(_) => "undrain".to_owned(),
            Self::TransferLeader => "leadership transferred".to_owned(),
            Self::ComeBack => "a killed node comes back".to_owned(),
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub struct FailoverReport {
    /// What was planned.
    pub plan: FailoverPlan,
    /// Every event.
    pub happenings: Vec<Happening>,
    /// What both judges say.
    pub verdict: Verdict,
    /// Copies of dead owners that the last owners found.
    pub zombies: u64,
    /// How often the target was taken to have lost copies. It never did.
    pub rewinds: u64,
    /// Nodes that did not end with success when they were asked to at the end.
    pub unclean: Vec<String>,
    /// Errors in the nodes' logs.
    pub complaints: Vec<String>,
    /// How long it took.
    pub seconds: u64,
}

impl FailoverReport {
    /// Everything that is wrong; empty when the run passed.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = self.happenings.iter().flat_map(Happening::failures).collect();
        if !self.verdict.is_good() {
            failures.push(self.verdict.to_string());
        }
        // A node that comes back is an event of its own, which the plan does not name.
        let planned = self.happenings.iter().filter(|happening| happening.event != Event::ComeBack).count();
        if planned != self.plan.events.len() {
            failures.push(format!("{planned} events, not {}", self.plan.events.len()));
        }
        if self.zombies > 0 {
            failures.push(format!("{} copies of dead owners", self.zombies));
        }
        if self.rewinds > 0 {
            failures.push(format!("{} rewinds, and the target never lost anything", self.rewinds));
        }
        failures.extend(self.unclean.iter().map(|node| format!("{node} did not end with success")));
        failures.extend(self.complaints.iter().map(|line| format!("an error in a log: {line}")));
        failures
    }

    /// A line for each event.
    pub fn events_table(&self) -> Table {
        let mut table = Table::new(&[
            "event",
            "node",
            "partitions",
            "longest stop",
            "median stop",
            "others' longest",
            "reassigned after",
            "remarks",
        ]);
        for happening in &self.happenings {
            let (affected, others) = (happening.lasted(true), happening.lasted(false));
            let longest = |lasted: &[Duration]| lasted.last().map_or(String::new(), |lasted| seconds(*lasted));
            table.row(&[
                happening.event.shown(),
                happening.node.clone(),
                affected.len().to_string(),
                longest(&affected),
                if affected.is_empty() { String::new() } else { seconds(median(&affected)) },
                longest(&others),
                happening.reassigned.map_or(String::new(), seconds),
                happening.remarks.join("; "),
            ]);
        }
        table
    }

    fn judgement(&self) -> Table {
        let report = &self.verdict.report;
        let mut table = Table::new(&[
            "in the source",
            "at the target",
            "lost",
            "doubled",
            "out of order",
            "altered",
            "epochs",
            "copies of dead owners",
            "verdict",
        ]);
        table.row(&[
            grouped(i64::try_from(report.source_messages).unwrap()),
            grouped(i64::try_from(report.target_messages).unwrap()),
            report.lost.to_string(),
            report.duplicated.to_string(),
            report.out_of_order.to_string(),
            (report.altered + report.moved + report.foreign + report.corrupt).to_string(),
            self.verdict.findings.epochs.to_string(),
            self.zombies.to_string(),
            if self.failures().is_empty() { "pass" } else { "FAIL" }.to_owned(),
        ]);
        table
    }
}

/// One line for each kind of event, over all runs.
fn summary(runs: &[FailoverReport]) -> Table {
    let mut kinds: BTreeMap<String, (usize, Vec<Duration>, Duration)> = BTreeMap::new();
    for happening in runs.iter().flat_map(|run| &run.happenings) {
        let (count, affected, others) = kinds.entry(happening.event.shown()).or_default();
        *count += 1;
        affected.extend(happening.lasted(true));
        *others = happening.lasted(false).last().copied().unwrap_or_default().max(*others);
    }
    let mut table =
        Table::new(&["event", "times", "partitions affected", "longest stop", "median stop", "others' longest stop"]);
    for (event, (count, mut affected, others)) in kinds {
        affected.sort();
        table.row(&[
            event,
            count.to_string(),
            affected.len().to_string(),
            affected.last().map_or(String::new(), |longest| seconds(*longest)),
            if affected.is_empty() { String::new() } else { seconds(median(&affected)) },
            seconds(others),
        ]);
    }
    table
}

/// The report for the documentation, over one or more runs.
pub fn markdown(runs: &[FailoverReport], command: &str) -> String {
    let passed = runs.iter().all(|run| run.failures().is_empty());
    let mut text = heading("Nodes die, stand still, leave and come back", command, passed);
    text.push_str(
        "Numbered messages are sent by Apache's Java client to a source broker at a steady rate and copied to a target broker, \
         both Apache's own, by a cluster of Causeway nodes on the same machine. Nodes are killed with SIGKILL, stopped with \
         SIGSTOP for longer than a lease, asked to end, drained. The ends of all queues of both topics are read every 50 ms. \
         A *stop* of a partition is the longest time of an event during which its target queue did not grow although its source \
         queue held more. *Partitions* are those that began another ownership in the event; *others* are those that did not. \
         After the loss of a quorum a stop counts from the moment when a node is started again. Both topics are read back with \
         Apache's Java client at the end; the checker recognises copies by content, a second judge by provenance, which also \
         shows that no owner wrote after its successor.\n",
    );
    write!(
        text,
        "\nLimits: {} for one partition when its owner is lost (the goal is 5 s), {} when it moves because somebody asked for \
         it, or asked its node to end, {} for copies that still arrive after a quorum was lost.\n\n{}",
        seconds(LOST),
        seconds(PLANNED),
        seconds(LEASE),
        summary(runs).text()
    )
    .unwrap();
    runs.iter().for_each(|run| text.push_str(&section(run)));
    text
}

/// The report of a rolling upgrade, for the documentation.
pub fn upgrade_markdown(run: &FailoverReport, command: &str) -> String {
    let mut text = heading("A rolling upgrade", command, run.failures().is_empty());
    let version = |binary: &Path| {
        let output = Command::new(binary).arg("--version").output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let builds = run.plan.builds.as_ref().expect("a rolling upgrade has two builds");
    writeln!(
        text,
        "Three nodes of one build ({}) are asked to end, one after the other, and started with another one ({}), while \
         Apache's Java client sends numbered messages at a steady rate. A *stop* of a partition is the longest time during \
         which its target queue did not grow although its source queue held more. Both topics are read back with Apache's \
         Java client at the end and judged by content and by provenance.",
        version(&builds.old),
        version(&builds.new)
    )
    .unwrap();
    text + &section(run)
}

fn section(run: &FailoverReport) -> String {
    let FailoverPlan { source, target, queues, rate, seed, regions, .. } = &run.plan;
    let nodes: Vec<String> =
        regions.iter().enumerate().map(|(place, region)| format!("{} in {region}", name(place))).collect();
    let mut text = format!(
        "\n## {source} to {target}, seed {seed}\n\n{}; {queues} queues, {} messages/s, {} seconds.\n\n{}\n{}",
        nodes.join(", "),
        grouped(i64::try_from(*rate).unwrap()),
        run.seconds,
        run.judgement().text(),
        run.events_table().text()
    );
    for failure in run.failures() {
        write!(text, "\n```\n{failure}\n```\n").unwrap();
    }
    text
}

fn median(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() / 2]
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
