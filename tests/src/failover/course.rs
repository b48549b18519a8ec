//! How the events of a run are done to the nodes, and what is seen of each.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::report::{Happening, Stop};
use super::stops::Watch;
use super::{Event, FailoverPlan};
use crate::members::{Members, name, succeeded};
use crate::random::Random;
use crate::scenario::NAME;
use crate::scenario::view::{Member, Partition, Queue};

/// How long an event is looked at, at least: what follows it late counts too.
const SHORTEST: Duration = Duration::from_secs(5);

/// How long copying may take to be as before.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long partitions that are on their way are waited for before an event, and nodes without any for some. That they
/// never arrive is told.
const MOVES: Duration = Duration::from_secs(30);

/// How long a node stands still: longer than a lease, its margin, the wait of a new owner and the tail together.
const PAUSE: Duration = Duration::from_secs(8);

/// What is said of an event after [`MOVES`].
const UNEVEN: &str = "partitions had not arrived where they are wanted";

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A run under way.
pub(super) struct Course<'a> {
    plan: &'a FailoverPlan,
    members: &'a mut Members,
    watch: Watch,
    random: Random,
    happenings: Vec<Happening>,
}

/// What was there before an event.
struct Before {
    event: Event,
    began: Instant,
    partitions: BTreeMap<Queue, Partition>,
    owners: BTreeMap<Queue, Option<usize>>,
    struck: BTreeSet<usize>,
    node: String,
    remarks: Vec<String>,
    /// How long after the event every partition of a struck node was another ownership's.
    reassigned: Option<Duration>,
}

impl Before {
    fn is_of_struck(&self, queue: &Queue) -> bool {
        self.owners[queue].is_some_and(|place| self.struck.contains(&place))
    }
}

impl<'a> Course<'a> {
    pub(super) fn new(plan: &'a FailoverPlan, members: &'a mut Members, watch: Watch) -> Self {
        Self { plan, members, watch, random: Random(plan.seed), happenings: Vec::new() }
    }

    pub(super) fn end(self) -> Vec<Happening> {
        self.happenings
    }

    /// Waits until all is well, lets one event happen, and waits until all is well again.
    pub(super) fn let_happen(&mut self, event: Event, progress: &mut dyn FnMut(&str)) {
        let mut remarks = Vec::new();
        let leader = self.members.wait_whole();
        self.wait_flowing(event);
        if !self.wait_for_moves() {
            remarks.push(UNEVEN.to_owned());
        }
        // Leases are renewed every 0.4 s: an event may strike at any point of that.
        sleep(Duration::from_millis(self.random.below(1_000)));
        let struck = self.chosen(event, leader);
        let shown = |place: &usize| format!("{}{}", name(*place), if *place == leader { " (leader)" } else { "" });
        let node = struck.iter().map(shown).collect::<Vec<_>>().join(", ");
        let before = self.before(event, struck, node, remarks);
        self.strike(before, progress);
    }

    fn before(&mut self, event: Event, struck: BTreeSet<usize>, node: String, remarks: Vec<String>) -> Before {
        let (partitions, owners) = (self.members.partitions(NAME), self.members.owners(NAME));
        self.watch.seen().begin_window();
        Before { event, began: Instant::now(), partitions, owners, struck, node, remarks, reassigned: None }
    }

    /// The nodes that an event strikes.
    fn chosen(&mut self, event: Event, leader: usize) -> BTreeSet<usize> {
        match event {
            Event::Nothing | Event::TransferLeader | Event::ComeBack => BTreeSet::new(),
            Event::KillLeader | Event::PauseLeader => BTreeSet::from([leader]),
            Event::Restart(place) | Event::Upgrade(place) | Event::Drain(place) | Event::Undrain(place) => {
                BTreeSet::from([place])
            }
            Event::KillOwner | Event::KillAndStart | Event::PauseOwner => {
                let mut owned: BTreeMap<usize, usize> = BTreeMap::new();
                for place in self.members.owners(NAME).into_values().flatten() {
                    *owned.entry(place).or_default() += 1;
                }
                let most = owned.iter().max_by_key(|(place, count)| (**place != leader, **count));
                BTreeSet::from([*most.expect("every partition has an owner").0])
            }
            Event::LoseQuorum => {
                let owners: Vec<usize> =
                    self.members.owners(NAME).into_values().flatten().collect::<BTreeSet<_>>().into_iter().collect();
                let chosen = self.random.below(u64::try_from(owners.len()).unwrap());
                let survivor = owners[usize::try_from(chosen).unwrap()];
                (0..self.members.count()).filter(|place| *place != survivor).collect()
            }
        }
    }

    fn strike(&mut self, mut before: Before, progress: &mut dyn FnMut(&str)) {
        let first = before.struck.first().copied();
        match (before.event, first) {
            (Event::KillOwner | Event::KillLeader, Some(place)) => {
                self.members.kill9(place);
                self.look_until_well(before, progress);
                self.come_back(place, progress);
            }
            (Event::KillAndStart, Some(place)) => {
                self.members.kill9(place);
                self.members.start(place);
                self.look_until_well(before, progress);
            }
            (Event::PauseOwner | Event::PauseLeader, Some(place)) => {
                self.members.pause(place);
                while before.began.elapsed() < PAUSE {
                    sleep(LOOK);
                    self.notice(&mut before);
                }
                self.members.resume(place);
                self.look_until_well(before, progress);
            }
            (Event::LoseQuorum, Some(place)) => self.lose_quorum(before, place, progress),
            (Event::Restart(place) | Event::Upgrade(place), _) => {
                let asked = Instant::now();
                let status = self.members.stop(place);
                before.remarks.push(format!("it took {:.1} s to end", asked.elapsed().as_secs_f64()));
                if !status.success() {
                    before.remarks.push(format!("it ended with {status}"));
                }
                let newer = self.plan.builds.as_ref().filter(|_| before.event == Event::Upgrade(place));
                if let Some(builds) = newer {
                    self.members.node_mut(place).set_binary(&builds.new);
                }
                self.members.start(place);
                if newer.is_some() {
                    self.members.wait_whole();
                    before.remarks.push(self.builds());
                }
                self.look_until_well(before, progress);
            }
            (Event::Drain(place), _) => {
                let asked = Instant::now();
                let output = self.members.command(&["drain", &name(place), "--wait"], Some(place));
                before.remarks.push(told("cluster drain --wait", asked, &output));
                self.look_until_well(before, progress);
            }
            (Event::Undrain(place), _) => {
                succeeded(&self.members.command(&["undrain", &name(place)], None));
                if !self.wait_for_moves() {
                    before.remarks.push(UNEVEN.to_owned());
                }
                self.look_until_well(before, progress);
            }
            (Event::TransferLeader, _) => {
                let asked = Instant::now();
                let output = self.members.command(&["transfer-leader"], None);
                before.remarks.push(told("cluster transfer-leader", asked, &output));
                self.look_until_well(before, progress);
            }
            _ => self.look_until_well(before, progress),
        }
    }

    /// The newest version of the command set that each node's build knows.
    fn builds(&self) -> String {
        let seen = self.members.look(self.members.wait_leader()).unwrap_or_default();
        let versions: Vec<String> = seen.iter().map(|member| member.command_version.to_string()).collect();
        format!("the builds know versions {}", versions.join(", "))
    }

    fn come_back(&mut self, place: usize, progress: &mut dyn FnMut(&str)) {
        let mut before = self.before(Event::ComeBack, BTreeSet::from([place]), name(place), Vec::new());
        self.members.start(place);
        self.members.wait_whole();
        if !self.wait_for_moves() {
            before.remarks.push(UNEVEN.to_owned());
        }
        self.look_until_well(before, progress);
    }

    /// All nodes but one die, so that nobody is granted a lease: copying has to stop. It goes on when one is back.
    fn lose_quorum(&mut self, mut before: Before, back: usize, progress: &mut dyn FnMut(&str)) {
        let struck_at = self.watch.seen().at();
        for place in before.struck.clone() {
            self.members.kill9(place);
        }
        sleep(PAUSE);
        let went_on = self.watch.seen().advanced_at().saturating_sub(struck_at);
        before.remarks.push(format!("copies arrived for {:.2} s", went_on.as_secs_f64()));
        self.watch.seen().begin_window();
        before.began = Instant::now();
        self.members.start(back);
        self.look_until_well(before, progress);
        self.happenings.last_mut().expect("it was just added").went_on = Some(went_on);
        let others = (0..self.members.count()).filter(|place| !self.members.running().contains(place));
        for place in others.collect::<Vec<_>>() {
            self.come_back(place, progress);
        }
    }

    /// Looks until every partition is copied by a node that runs and lacks nearly nothing, and writes down what was
    /// seen.
    fn look_until_well(&mut self, mut before: Before, progress: &mut dyn FnMut(&str)) {
        let deadline = Instant::now() + PATIENCE;
        while !(self.notice(&mut before) && self.is_level() && before.began.elapsed() >= SHORTEST) {
            assert!(
                Instant::now() < deadline,
                "{:?} of {}: not as before after {PATIENCE:?}: {:#?}",
                before.event,
                before.node,
                self.members.partitions(NAME)
            );
            sleep(LOOK);
        }
        let happening = self.seen(before);
        progress(&happening.to_string());
        self.happenings.push(happening);
    }

    /// Looks who owns what. Answers whether all owners run.
    fn notice(&self, before: &mut Before) -> bool {
        let partitions = self.members.partitions(NAME);
        if let Some(faulted) = partitions.values().find(|partition| partition.fault.is_some()) {
            panic!("a partition waits for a decision: {faulted:#?}");
        }
        let running = self.members.running();
        let owners: Vec<_> = partitions.values().map(|partition| self.members.place_of(partition.owner)).collect();
        let all_run = owners.iter().all(|owner| owner.is_some_and(|place| running.contains(&place)));
        let is_struck = |(queue, partition): (&Queue, &Partition)| {
            before.is_of_struck(queue) && partition.epoch == before.partitions[queue].epoch
        };
        if before.reassigned.is_none() && all_run && !partitions.iter().any(is_struck) {
            before.reassigned = Some(before.began.elapsed());
        }
        all_run
    }

    fn seen(&self, before: Before) -> Happening {
        let after = self.members.partitions(NAME);
        let (longest, blind) = {
            let seen = self.watch.seen();
            (seen.longest(), seen.blind())
        };
        let owned = before.partitions.keys().any(|queue| before.is_of_struck(queue));
        let stop = |(queue, lasted): (Queue, Duration)| {
            let affected = after[&queue].epoch != before.partitions[&queue].epoch;
            Stop { queue, lasted, affected }
        };
        let stops = longest.into_iter().map(stop).collect();
        Happening {
            event: before.event,
            node: before.node,
            stops,
            reassigned: before.reassigned.filter(|_| owned),
            went_on: None,
            blind,
            remarks: before.remarks,
        }
    }

    /// Whether no queue of the target lacks more than half a second's messages.
    fn is_level(&self) -> bool {
        let half_second = self.plan.rate / u64::from(self.plan.queues) / 2;
        self.watch.seen().behind() <= i64::try_from(half_second).unwrap()
    }

    fn wait_flowing(&self, next: Event) {
        let deadline = Instant::now() + PATIENCE;
        let mut level_since = None;
        loop {
            let partitions = self.members.partitions(NAME);
            let copies = |partition: &Partition| matches!(partition.state.as_str(), "running" | "catching_up");
            let flows = !partitions.is_empty() && partitions.values().all(copies) && self.is_level();
            let since = level_since.get_or_insert_with(Instant::now);
            if !flows {
                level_since = None;
            } else if since.elapsed() >= Duration::from_secs(1) {
                return;
            }
            assert!(Instant::now() < deadline, "before {next:?}: not copying after {PATIENCE:?}: {partitions:#?}");
            sleep(LOOK);
        }
    }

    /// Waits until every partition has arrived where it is wanted and, where the plan says so, every node beside the
    /// target has some. Answers whether that was in time.
    fn wait_for_moves(&self) -> bool {
        let beside = self.plan.regions.iter().enumerate().filter(|(_, region)| **region == "target");
        let beside: BTreeSet<String> = beside.map(|(place, _)| name(place)).collect();
        let deadline = Instant::now() + MOVES;
        loop {
            let place = self.members.wait_leader();
            let seen = self.members.look(place).unwrap_or_default();
            let has_some = |member: &Member| member.partitions > 0 || !beside.contains(&member.name);
            let is_even = !self.plan.evens_out || seen.iter().all(has_some);
            if is_even && !seen.is_empty() && seen.iter().all(|member| member.leaving_partitions == 0) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            sleep(LOOK);
        }
    }
}

/// What a command said.
fn told(what: &str, asked: Instant, output: &Output) -> String {
    let took = asked.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().lines().last().unwrap_or_default();
    if output.status.success() {
        format!("{what} took {took:.1} s")
    } else {
        format!("{what} FAILED after {took:.1} s with {}: {said}", output.status)
    }
}
