//! How blows are struck, and what is seen of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::network::{Cut, Network};
use super::{Blow, ChaosPlan};
use crate::failover::stops::Watch;
use crate::members::{Members, name};
use crate::random::Random;
use crate::scenario::NAME;
use crate::scenario::view::{Partition, Queue};

/// How long copying may take to be as before.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// What the kernel still has of a dead process has arrived by then.
const ARRIVED: Duration = Duration::from_millis(300);

/// The shortest time that a node stands still: longer than a lease and its margin.
const PAUSE: Duration = Duration::from_secs(3);

/// One blow, measured.
#[derive(Debug, Clone)]
pub struct ChaosEvent {
    /// What it was.
    pub blow: Blow,
    /// Whom it struck.
    pub whom: String,
    /// How long it lasted.
    pub lasted: Duration,
    /// Ownerships that began since the blow.
    pub takeovers: u64,
    /// For each partition that a struck node owned: how many copies stood at the target behind the agreed checkpoint,
    /// which a new owner finds in the tail. Known of kills and pauses.
    pub tails: Vec<i64>,
    /// The longest time for which copies of a partition that began another ownership did not arrive.
    pub failovers: Vec<Duration>,
    /// The same of the others.
    pub others: Duration,
}

impl fmt::Display for ChaosEvent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lasted.as_secs_f64();
        let found = self.tails.iter().filter(|tail| **tail > 0).count();
        let longest = self.failovers.iter().max().copied().unwrap_or_default();
        write!(out, "{:?} {} for {seconds:.1} s: {} takeovers, ", self.blow, self.whom, self.takeovers)?;
        write!(out, "{found} tails with copies, stopped for up to {:.2} s", longest.as_secs_f64())?;
        write!(out, ", others {:.2} s", self.others.as_secs_f64())
    }
}

/// A run under way.
pub(super) struct Course<'a> {
    pub(super) plan: &'a ChaosPlan,
    pub(super) members: &'a mut Members,
    pub(super) network: &'a Network,
    pub(super) watch: Watch,
    pub(super) random: Random,
    pub(super) events: Vec<ChaosEvent>,
    /// Blows that came when there were no more messages.
    pub(super) idle: usize,
}

impl Course<'_> {
    /// Strikes, and waits until all is well again.
    pub(super) fn let_happen(&mut self, blow: Blow, is_over: bool, progress: &mut dyn FnMut(&str)) {
        self.wait_well();
        self.idle += usize::from(is_over);
        sleep(self.between(0, 1_500));
        let before = self.members.partitions(NAME);
        self.watch.seen().begin_window();
        let began = Instant::now();
        let (whom, lasted, tails) = match blow {
            Blow::Kill => self.kill(&before),
            Blow::Pause => self.pause(&before),
            Blow::CutOneWay | Blow::CutBothWays => self.cut(blow == Blow::CutBothWays),
        };
        self.wait_well();
        let after = self.members.partitions(NAME);
        let longest = self.watch.seen().longest();
        let began_again = |queue: &Queue| after[queue].epoch != before[queue].epoch;
        let takeovers = after.iter().map(|(queue, partition)| partition.epoch - before[queue].epoch).sum();
        let failovers = longest.iter().filter(|(queue, _)| began_again(queue)).map(|(_, lasted)| *lasted).collect();
        let others = longest.iter().filter(|(queue, _)| !began_again(queue)).map(|(_, lasted)| *lasted);
        let others = others.max().unwrap_or_default();
        let event = ChaosEvent { blow, whom, lasted, takeovers, tails, failovers, others };
        progress(&format!("{event}; well again after {:.1} s", began.elapsed().as_secs_f64()));
        self.events.push(event);
    }

    fn kill(&mut self, before: &BTreeMap<Queue, Partition>) -> (String, Duration, Vec<i64>) {
        let place = self.victim(before);
        let struck = Instant::now();
        self.members.kill9(place);
        let tails = self.tails(place, before);
        sleep(self.between(0, 4_000));
        self.members.start(place);
        (name(place), struck.elapsed(), tails)
    }

    fn pause(&mut self, before: &BTreeMap<Queue, Partition>) -> (String, Duration, Vec<i64>) {
        let place = self.victim(before);
        let struck = Instant::now();
        self.members.pause(place);
        let tails = self.tails(place, before);
        sleep(PAUSE + self.between(0, 6_000));
        self.members.resume(place);
        (name(place), struck.elapsed(), tails)
    }

    fn cut(&mut self, both_ways: bool) -> (String, Duration, Vec<i64>) {
        let from = self.any_node();
        let others: Vec<usize> = (0..self.members.count()).filter(|place| *place != from).collect();
        let to = others[self.below(others.len())];
        let cut = Cut { from, to, both_ways };
        let struck = Instant::now();
        self.network.set_cut(cut, true);
        sleep(self.between(1_000, 9_000));
        self.network.set_cut(cut, false);
        let way = if both_ways { "and" } else { "to" };
        (format!("{} {way} {}", name(from), name(to)), struck.elapsed(), Vec::new())
    }

    /// How many copies of each partition of a node stand behind its checkpoint, which does not move any more.
    fn tails(&self, place: usize, before: &BTreeMap<Queue, Partition>) -> Vec<i64> {
        sleep(ARRIVED);
        let ends = self.watch.seen().target_ends();
        let now = self.members.partitions(NAME);
        let of_node = before.iter().filter(|(_, partition)| self.members.place_of(partition.owner) == Some(place));
        of_node
            .map(|(queue, partition)| {
                let known = now[queue].checkpoint.filter(|checkpoint| checkpoint.epoch <= partition.epoch);
                ends[queue] - known.map_or(0, |checkpoint| checkpoint.target_next)
            })
            .collect()
    }

    /// Waits until every node is the member that it shall be, and every partition is copied and lacks nearly nothing.
    fn wait_well(&self) {
        self.members.wait_whole();
        let deadline = Instant::now() + PATIENCE;
        let half_second = i64::try_from(self.plan.rate / u64::from(self.plan.queues) / 2 + 16).unwrap();
        loop {
            let partitions = self.members.partitions(NAME);
            if let Some(faulted) = partitions.values().find(|partition| partition.fault.is_some()) {
                panic!("a partition waits for a decision: {faulted:#?}");
            }
            let copies = |partition: &Partition| matches!(partition.state.as_str(), "running" | "catching_up");
            let behind = self.watch.seen().behind();
            if !partitions.is_empty() && partitions.values().all(copies) && behind <= half_second {
                return;
            }
            let states: BTreeSet<(&str, Option<u64>)> =
                partitions.values().map(|partition| (partition.state.as_str(), partition.owner)).collect();
            assert!(Instant::now() < deadline, "not copying after {PATIENCE:?}, {behind} behind: {states:?}");
            sleep(LOOK);
        }
    }

    /// Two of three times a node that owns partitions, and always while nobody has taken over from anybody.
    fn victim(&mut self, before: &BTreeMap<Queue, Partition>) -> usize {
        let owners: BTreeSet<usize> =
            before.values().filter_map(|partition| self.members.place_of(partition.owner)).collect();
        let owners: Vec<usize> = owners.into_iter().collect();
        let is_first = self.events.iter().all(|event| event.takeovers == 0);
        let is_any = self.below(3) == 0;
        if owners.is_empty() || is_any && !is_first {
            return self.any_node();
        }
        owners[self.below(owners.len())]
    }

    fn any_node(&mut self) -> usize {
        self.below(self.members.count())
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(u64::try_from(limit).unwrap())).unwrap()
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.random.below(most - least))
    }
}
