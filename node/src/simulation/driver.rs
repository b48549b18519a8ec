//! Lets a simulated group, what lives on its nodes and the brokers go on together, and judges what comes of it.
//!
//! One thread and one clock, tokio's, which is paused: it moves on when nothing can run any more. The group's events
//! happen at its milliseconds; between two of them residents run in the order of their nodes. So one seed is one run.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use causeway_cluster::sim::{self, Flaw, News, Random, Simulation};
use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use tokio::time::{Instant, Sleep, sleep};

use super::broker::{self, Brokers, Hardship};
use super::judge::{Judge, agree, at_the_end, everything_is_copied, left};
use super::link::Fault;
use super::resident::{Resident, Surroundings};
use crate::replicate::ReplicateSettings;
use crate::replicate::settings::Takeover;

/// Queues of the simulated stream.
const QUEUES: u32 = 6;
/// When nothing is hurt any more, everything is copied within so long: rests after failures are up to 75 s long.
const RECOVERY: Duration = Duration::from_secs(240);
/// One seed in so many takes over strictly: its takeovers cost two minutes each, so it has more time for everything.
const STRICT_ONE_IN: u64 = 16;
const STRICT_TIMES: u32 = 4;
/// Behind that, whoever watches a target looks once more.
const LAST_LOOKS: Duration = Duration::from_secs(25);
/// How much later than it was sent a spoiled report arrives.
const LATE: Duration = Duration::from_secs(4);

/// Between two nodes that are asked to end, in milliseconds.
const ENDS: std::ops::Range<u64> = 2_000..20_000;
/// How long others may take over what such a node owns, and how long its last sends and reports may take, at most.
const LEAVES_WITHIN: std::ops::Range<u64> = 0..8_000;
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// A new owner does not wait for what may be on its way.
    NoSettling,
    /// A new owner does not see what stands behind the checkpoint.
    NoTailRead,
    /// Progress of an ownership that is over is taken for that of the present one.
    OldCheckpoint,
    /// Disks make nothing durable.
    NoBarrier,
    /// Sends leave whatever the lease says.
    NoPermit,
    /// A lease counts from when it arrived.
    LeaseFromArrival,
    /// Nobody reports progress.
    NoReports,
    /// Takeovers that are to be strict are not.
    NotStrict,
}

/// One simulation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) seconds: u64,
    pub(super) defect: Option<Defect>,
}

impl Setup {
    /// Whether takeovers are strict.
    fn is_strict(self) -> bool {
        self.seed % STRICT_ONE_IN == STRICT_ONE_IN - 1
    }

    fn times(self) -> u32 {
        if self.is_strict() { STRICT_TIMES } else { 1 }
    }

    fn hardship(self) -> Hardship {
        if self.is_strict() {
            // What a broker does late that stood still itself is not what a strict takeover is for.
            return Hardship { slow: 60, late: 60, lost: 20, stalled: 30, freezes: false };
        }
        // Every other seed has brokers that stand still and senders that are stopped in the worst moment.
        let zombies = self.seed.is_multiple_of(2);
        let stalled = if zombies { 15 } else { 0 };
        match self.seed % 3 {
            0 => Hardship { slow: 60, late: 60, lost: 20, stalled, freezes: zombies },
            1 => Hardship { slow: 300, late: 500, lost: 10, stalled, freezes: zombies },
            _ => Hardship { slow: 20, late: 100, lost: 60, stalled, freezes: zombies },
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) group: sim::Counts,
    pub(super) brokers: broker::Counts,
    pub(super) messages: u64,
    pub(super) rewinds: u64,
    pub(super) duplicates: u64,
    pub(super) reported: u64,
    /// Processes that were asked to end; and those of them whose last sends were answered and reported.
    pub(super) asked_to_end: u64,
    pub(super) ended_well: u64,
    /// Whether takeovers were strict.
    pub(super) strict: bool,
    /// From the end of all faults until everything was copied, in milliseconds.
    pub(super) recovery: u64,
}

/// A process on its way to the end.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// Others are given what it owns.
    GivesAway { until: Duration },
    /// Its runs end.
    Ends { until: Duration },
}

/// Everything.
pub(super) struct Driver {
    setup: Setup,
    simulation: Simulation,
    residents: BTreeMap<NodeId, Resident>,
    around: Surroundings,
    judge: Judge,
    random: Random,
    began: Instant,
    timer: Pin<Box<Sleep>>,
    /// Reports that a defect keeps back.
    kept_back: Vec<(Instant, NodeId, Command)>,
    leaving: BTreeMap<NodeId, Leaving>,
    /// When the next one is asked to end; never once nothing is hurt any more.
    next_end: Option<Duration>,
    asked_to_end: u64,
    ended_well: u64,
}

impl Driver {
    pub(super) fn new(setup: Setup, traced: bool) -> Self {
        let flaw = match setup.defect {
            Some(Defect::NoBarrier) => Some(Flaw::SkippedBarriers),
            Some(Defect::LeaseFromArrival) => Some(Flaw::LeaseFromArrival),
            _ => None,
        };
        let fault = match setup.defect {
            Some(Defect::NoTailRead) => Fault::HidesTail,
            Some(Defect::NoPermit) => Fault::IgnoresPermits,
            _ => Fault::None,
        };
        let seconds = setup.seconds * u64::from(setup.times());
        let group = sim::Settings { seed: setup.seed, seconds, partitions: QUEUES, flaw };
        let mut random = Random::new(setup.seed ^ 0x005e_ed0f_b40c_e125);
        let brokers = Arc::new(Brokers::new(QUEUES.try_into().unwrap(), random.split(), setup.hardship()));
        let mut settings = ReplicateSettings::default();
        if setup.defect == Some(Defect::NoSettling) {
            settings.settle = Duration::ZERO;
        }
        if setup.is_strict() && setup.defect != Some(Defect::NotStrict) {
            settings.takeover = Takeover::Strict;
        }
        Self {
            setup,
            simulation: Simulation::new(group, traced),
            residents: BTreeMap::new(),
            around: Surroundings::new(brokers, settings, fault),
            judge: Judge::default(),
            random,
            began: Instant::now(),
            timer: Box::pin(sleep(Duration::ZERO)),
            kept_back: Vec::new(),
            leaving: BTreeMap::new(),
            next_end: Some(Duration::from_millis(ENDS.end)),
            asked_to_end: 0,
            ended_well: 0,
        }
    }

    /// Lets everything happen.
    pub(super) async fn run(&mut self) -> Result<Report, String> {
        let brokers = Arc::clone(&self.around.brokers);
        brokers.spawn(Arc::clone(&brokers).produce());
        brokers.spawn(Arc::clone(&brokers).suffer());
        let (end, recovery) =
            (Duration::from_secs(self.setup.seconds) * self.setup.times(), RECOVERY * self.setup.times());
        self.until(end, |_| false).await?;
        self.simulation.calm_down();
        self.next_end = None;
        brokers.calm();
        let recovers_within = end + recovery;
        self.until(recovers_within, |driver| {
            driver.simulation.is_whole() && everything_is_copied(&driver.around.brokers, driver.simulation.agreed())
        })
        .await?;
        let recovered = self.began.elapsed();
        if recovered >= recovers_within {
            let left = left(&self.around.brokers, self.simulation.agreed());
            return Err(format!("P6: after {recovery:?}: {left}\n{}", self.simulation.outline()));
        }
        self.until(recovered + LAST_LOOKS, |_| false).await?;
        let (messages, duplicates) = at_the_end(&self.around, !self.setup.is_strict())?;
        Ok(Report {
            group: self.simulation.counts(),
            brokers: brokers.counts(),
            messages,
            rewinds: self.simulation.agreed().partitions.values().map(|partition| partition.rewinds).sum(),
            duplicates,
            asked_to_end: self.asked_to_end,
            ended_well: self.ended_well,
            reported: (0..brokers.sources.len()).map(|number| self.around.reported(number)).sum(),
            strict: self.setup.is_strict(),
            recovery: u64::try_from((recovered - end).as_millis()).unwrap(),
        })
    }

    pub(super) fn trace(&self) -> String {
        self.simulation.trace() + &self.around.brokers.notes()
    }

    /// Goes on until a time since the beginning, or until something is so.
    async fn until(&mut self, end: Duration, is_so: impl Fn(&Self) -> bool) -> Result<(), String> {
        poll_fn(|context| self.go_on(context, end, &is_so)).await
    }

    fn go_on(
        &mut self,
        context: &mut Context<'_>,
        end: Duration,
        is_so: &impl Fn(&Self) -> bool,
    ) -> Poll<Result<(), String>> {
        loop {
            let now = self.began.elapsed();
            let mut goes_on = false;
            while self.simulation.next().is_some_and(|next| next <= now) {
                self.simulation.step()?;
                self.spread();
            }
            self.simulation.pass(now);
            agree(&self.around.brokers, self.simulation.agreed());
            for resident in self.residents.values_mut() {
                resident.run(context);
            }
            for node in self.residents.keys().copied().collect::<Vec<_>>() {
                goes_on |= self.ask_for(node);
            }
            for node in self.around.brokers.take_stalls() {
                let long = Duration::from_millis(self.random.within(2_000..20_000));
                self.simulation.pause(node, long);
            }
            self.hand_in_what_was_kept_back();
            self.end_some(now);
            self.spread();
            self.judge.look(&self.around.brokers, self.simulation.agreed())?;
            if now >= end || is_so(self) {
                return Poll::Ready(Ok(()));
            }
            if goes_on {
                continue;
            }
            let next = self.simulation.next().unwrap_or(end).min(end);
            self.timer.as_mut().reset(self.began + next);
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Passes on what happened to nodes.
    fn spread(&mut self) {
        for news in self.simulation.take_news() {
            let known = match &news {
                News::Began { node, clock, view } => {
                    let resident = Resident::begin(*node, clock.clone(), Arc::clone(view), &self.around);
                    self.residents.insert(*node, resident);
                    continue;
                }
                News::Ended { node } => {
                    self.residents.remove(node);
                    self.leaving.remove(node);
                    continue;
                }
                News::Stopped { node }
                | News::WentOn { node }
                | News::Agreed { node, .. }
                | News::Leased { node, .. }
                | News::Answered { node, .. } => self.residents.get_mut(node),
            };
            let Some(resident) = known else { continue };
            match news {
                News::Stopped { .. } => resident.stands_still = true,
                News::WentOn { .. } => resident.stands_still = false,
                News::Agreed { view, .. } => resident.agreed(view),
                News::Leased { until, .. } => resident.leased(until),
                News::Answered { ticket, answer, .. } => resident.answered(ticket, answer),
                News::Began { .. } | News::Ended { .. } => {}
            }
        }
    }

    /// Asks the group what a resident asks.
    fn ask_for(&mut self, node: NodeId) -> bool {
        let Some(resident) = self.residents.get_mut(&node) else { return false };
        let (simulation, kept_back) = (&mut self.simulation, &mut self.kept_back);
        let (spoils, drops) =
            [Defect::OldCheckpoint, Defect::NoReports].map(|defect| self.setup.defect == Some(defect)).into();
        resident.ask(|command| {
            let is_report = matches!(command, Command::RecordProgress { .. });
            if drops && is_report {
                return 0;
            }
            if spoils && is_report {
                kept_back.push((Instant::now() + LATE, node, command.clone()));
            }
            simulation.propose(node, command)
        })
    }

    /// Asks a process to end now and then, and ends those that have come so far.
    fn end_some(&mut self, now: Duration) {
        if self.next_end.is_some_and(|next| next <= now) {
            self.next_end = Some(now + Duration::from_millis(self.random.within(ENDS)));
            let nodes: Vec<NodeId> = self.residents.keys().copied().collect();
            if let Some(node) = self.random.pick(&nodes).filter(|node| !self.leaving.contains_key(node)) {
                let until = now + Duration::from_millis(self.random.within(LEAVES_WITHIN));
                self.leaving.insert(node, Leaving::GivesAway { until });
                self.asked_to_end += 1;
                self.simulation.leave(node);
            }
        }
        for (node, leaving) in self.leaving.clone() {
            let Some(resident) = self.residents.get(&node).filter(|resident| !resident.stands_still) else { continue };
            match leaving {
                Leaving::GivesAway { until } if now >= until || resident.owned(node) == 0 => {
                    resident.ask_to_end();
                    self.leaving.insert(node, Leaving::Ends { until: now + ENDS_WITHIN });
                }
                Leaving::Ends { until } if now >= until || resident.has_ended() => {
                    self.ended_well += u64::from(resident.has_ended());
                    // Nothing of it writes behind the word that its lease is given back.
                    self.residents.remove(&node);
                    let restart = Duration::from_millis(self.random.within(50..5_000));
                    self.simulation.end(node, restart);
                }
                Leaving::GivesAway { .. } | Leaving::Ends { .. } => {}
            }
        }
    }

    /// A defect: reports come again, later, and count as the present owners'.
    fn hand_in_what_was_kept_back(&mut self) {
        let now = Instant::now();
        let due = self.kept_back.iter().take_while(|(at, ..)| *at <= now).count();
        for (_, at, command) in self.kept_back.drain(..due) {
            let Command::RecordProgress { progress, .. } = command else { continue };
            for mut report in progress {
                let agreed = self.simulation.agreed().partitions.get(&report.partition);
                let Some((owner, epoch)) = agreed.and_then(|agreed| Some((agreed.owner?, agreed.epoch))) else {
                    continue;
                };
                if report.checkpoint.epoch < epoch {
                    report.checkpoint.epoch = epoch;
                    let command = Command::RecordProgress { node: owner, progress: vec![report] };
                    self.simulation.propose(at, command);
                }
            }
        }
    }
}
