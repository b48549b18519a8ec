//! The world: what happens next, to whom, and whether it may be so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::node::ProcessId;
use causeway_storage::raft_log::Position;

use super::disk::look;
use super::history::History;
use super::leases::{Granted, Question, Writers};
use super::network::{Fate, Letter, Network};
use super::node::{Awaited, Call, Life, Node};
use super::random::Random;
use super::residents::{Answered, Asker, News};
use super::{Defect, Violation};
use crate::raft::message::{MessageKind, decode};
use crate::raft::replica::Replica;

/// Milliseconds of a node's own clock between two units of Raft's time.
const TICK: u64 = 100;
/// Between two rounds of a node's duties.
const DUTIES_EVERY: u64 = 500;
const TRACED: usize = 150;

/// One simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) seed: u64,
    /// How long things get broken, in simulated seconds.
    pub(super) seconds: u64,
    pub(super) defect: Option<Defect>,
    pub(super) partitions: u32,
    /// Whether S7 is judged; otherwise only what follows from a broken promise is.
    pub(super) judges_promises: bool,
    /// Whether nodes run their partitions themselves; see [`super::residents`].
    pub(super) has_residents: bool,
}

impl Setup {
    /// Whether nodes that miss their leader do so at about the same time.
    pub(super) fn campaigns_meet(self) -> bool {
        self.seed.is_multiple_of(2)
    }
}

/// What happened, all in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stats {
    pub(super) steps: u64,
    pub(super) messages: u64,
    pub(super) crashes: u64,
    /// Writes that crashes undid.
    pub(super) forgotten: u64,
    pub(super) pauses: u64,
    pub(super) cuts: u64,
    pub(super) elections: u64,
    pub(super) member_changes: u64,
    pub(super) transfers: u64,
    pub(super) snapshots: u64,
    pub(super) entries: u64,
    pub(super) answered: u64,
    pub(super) reads: u64,
    pub(super) leases: u64,
    pub(super) leases_refused: u64,
    pub(super) takeovers: u64,
    pub(super) writer_changes: u64,
    /// The longest time until everything went on after the last fault, in milliseconds.
    pub(super) recovery: u64,
    /// Of all steps: two runs of one seed have the same.
    pub(super) fingerprint: u64,
}

/// What happens to a node.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Tick,
    Turn,
    Duties,
    Letter(Box<Letter>),
    SnapshotSent(NodeId, bool),
    Unreachable(NodeId),
    Asked(Box<Command>, Option<Asker>),
    Answered(Answered),
    LeaseAsked(Question),
    LeaseGranted(u64, Granted),
    LeaseGivenBack(NodeId, ProcessId),
}

#[derive(Debug, Clone)]
pub(super) enum Event {
    /// To the life of this number, or to whichever there is.
    Node(NodeId, Option<u64>, Happening),
    Start(NodeId),
    Continue(NodeId),
    Heal(NodeId, NodeId),
    Work,
    Fault,
}

/// Everything.
pub(super) struct World {
    pub(super) setup: Setup,
    /// Real milliseconds since the beginning.
    pub(super) now: u64,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) network: Network,
    pub(super) history: History,
    pub(super) writers: Writers,
    pub(super) random: Random,
    pub(super) faults: Random,
    pub(super) stats: Stats,
    pub(super) news: Vec<News>,
    founders: BTreeSet<NodeId>,
    agenda: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    lives: u64,
    requests: u128,
    weather: Random,
    calm: bool,
    trace: Option<VecDeque<String>>,
}

impl World {
    pub(super) fn new(setup: Setup, traced: bool) -> Self {
        let mut random = Random::new(setup.seed);
        let founders: BTreeSet<NodeId> = (1..=if random.chance(500) { 1 } else { 3 }).map(NodeId).collect();
        let mut world = Self {
            setup,
            now: 0,
            nodes: BTreeMap::new(),
            network: Network::new(setup.defect),
            history: History::new(Position { index: 1, term: 1 }, founders.iter().copied().collect()),
            writers: Writers::default(),
            weather: random.split(),
            faults: random.split(),
            random,
            stats: Stats::default(),
            news: Vec::new(),
            founders,
            agenda: BTreeMap::new(),
            scheduled: 0,
            lives: 0,
            requests: 0,
            calm: false,
            trace: traced.then(VecDeque::new),
        };
        for id in world.founders.clone() {
            world.found(id);
        }
        world.schedule(50, Event::Work);
        world.schedule(4_000, Event::Fault);
        world
    }

    /// Lets things get broken for a while; then everything has to go on, also after all nodes crashed at once.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        let end = self.setup.seconds * 1000;
        while self.now < end {
            self.step()?;
        }
        self.calm_down();
        self.recover()?;
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.crash(id, 10);
        }
        self.recover()
    }

    pub(super) fn step(&mut self) -> Result<(), Violation> {
        let Some(((at, number), event)) = self.agenda.pop_first() else { return Ok(()) };
        self.pass(at);
        self.stats.steps += 1;
        self.stats.fingerprint = Random::new(self.stats.fingerprint ^ at ^ (number << 32)).draw();
        self.note(|| format!("{at:>7} {event:?}"));
        match event {
            Event::Node(id, life, happening) => self.befall(id, life, happening),
            Event::Start(id) => self.start(id),
            Event::Continue(id) => self.go_on(id),
            Event::Heal(from, to) => {
                self.network.heal(from, to);
                Ok(())
            }
            Event::Work => {
                let pause = self.random.within(20..150);
                self.schedule(pause, Event::Work);
                self.work()
            }
            Event::Fault => {
                self.fault();
                Ok(())
            }
        }?;
        self.judge_writers()
    }

    /// When the next thing happens.
    pub(super) fn next(&self) -> Option<u64> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// Time passes, and nothing happens.
    pub(super) fn pass(&mut self, to: u64) {
        let passed = to.saturating_sub(self.now);
        self.nodes.values().for_each(|node| node.pass(passed));
        self.now += passed;
    }

    /// Something happens to a process, now or when it goes on.
    fn befall(&mut self, id: NodeId, number: Option<u64>, happening: Happening) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let alive = node.life.as_ref().filter(|life| number.is_none_or(|number| number == life.number));
        match (alive, &mut node.stopped) {
            (None, _) => {
                self.missed(id, &happening);
                Ok(())
            }
            (Some(_), Some(later)) => {
                later.push(happening);
                Ok(())
            }
            (Some(_), None) => self.happen(id, happening),
        }
    }

    fn happen(&mut self, id: NodeId, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Tick => {
                self.again(id, TICK, Happening::Tick);
                self.call(id, Replica::tick)
            }
            Happening::Turn => self.turn(id),
            Happening::Duties => {
                self.again(id, DUTIES_EVERY, Happening::Duties);
                self.duties(id)
            }
            Happening::Letter(letter) => self.deliver(*letter),
            Happening::SnapshotSent(to, arrived) => {
                self.arrive(id, Call::SnapshotSent(to, arrived));
                Ok(())
            }
            Happening::Unreachable(to) => {
                self.arrive(id, Call::Unreachable(to));
                Ok(())
            }
            Happening::Asked(command, asker) => {
                self.propose_here(id, *command, None, false, asker);
                Ok(())
            }
            Happening::Answered(answered) => {
                self.answer_arrived(id, answered);
                Ok(())
            }
            Happening::LeaseAsked(question) => self.lease_asked(id, question),
            Happening::LeaseGranted(life, granted) => self.hold(id, life, granted),
            Happening::LeaseGivenBack(node, process) => {
                self.lease_given_back(id, node, process);
                Ok(())
            }
        }
    }

    fn go_on(&mut self, id: NodeId) -> Result<(), Violation> {
        let stopped = self.nodes.get_mut(&id).and_then(|node| node.stopped.take());
        if stopped.is_some() {
            self.occurs(News::WentOn { node: id });
        }
        for happening in stopped.unwrap_or_default() {
            // The process may have ended meanwhile.
            let life = self.life(id).map(|(life, _)| life.number);
            self.befall(id, life.or(Some(0)), happening)?;
        }
        Ok(())
    }

    fn deliver(&mut self, letter: Letter) -> Result<(), Violation> {
        let Letter { from, to, kind, ref bytes, .. } = letter;
        let message = decode(bytes, from, to).map_err(|fault| Violation::new("S9", format!("{letter}: {fault}")))?;
        if kind == MessageKind::Snapshot {
            self.report_snapshot(from, to, true);
        }
        self.stats.messages += 1;
        self.arrive(to, Call::Step(Box::new(message)));
        Ok(())
    }

    /// What was for somebody who is not there.
    fn missed(&mut self, id: NodeId, happening: &Happening) {
        if let Happening::Letter(letter) = happening {
            if letter.kind == MessageKind::Snapshot {
                self.report_snapshot(letter.from, id, false);
            } else if self.weather.chance(300) {
                self.schedule(1, Event::Node(letter.from, None, Happening::Unreachable(id)));
            }
        }
    }

    fn report_snapshot(&mut self, from: NodeId, to: NodeId, arrived: bool) {
        let delay = self.weather.within(1..100);
        self.schedule(delay, Event::Node(from, None, Happening::SnapshotSent(to, arrived)));
    }

    /// Takes a call; the turn that it waits for comes soon.
    pub(super) fn arrive(&mut self, id: NodeId, call: Call) {
        let Some(life) = self.life_mut(id) else { return };
        let (number, first) = (life.number, life.arrived.is_empty());
        life.arrived.push(call);
        if first {
            let delay = self.weather.within(0..4);
            self.schedule(delay, Event::Node(id, Some(number), Happening::Turn));
        }
    }

    pub(super) fn wait(&mut self, id: NodeId, awaited: Awaited) {
        let now = self.now;
        if let Some(life) = self.life_mut(id) {
            life.waiting.push((now, awaited));
        }
    }

    /// All that arrived, and one turn, as the actor does it.
    fn turn(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some(life) = self.life_mut(id) else { return Ok(()) };
        let arrived = std::mem::take(&mut life.arrived);
        self.call(id, |replica| {
            for call in arrived {
                match call {
                    Call::Propose(proposal) => replica.propose(proposal),
                    Call::Step(message) => replica.step(*message)?,
                    Call::Read(read) => replica.read(read),
                    Call::Change(change) => replica.change_member(change),
                    Call::Transfer(transfer) => replica.transfer_leader(transfer),
                    Call::Unreachable(node) => replica.unreachable(node),
                    Call::SnapshotSent(node, arrived) => replica.snapshot_sent(node, arrived),
                }
            }
            replica.turn()
        })
    }

    pub(super) fn carry_letters(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some(node) = self.nodes.get(&id) else { return Ok(()) };
        let said = node.mouth.take();
        if let Some(broken) = said.broken.filter(|_| self.setup.judges_promises) {
            return Err(Violation::new("S7", broken));
        }
        self.crash_behind_a_promise(id, &said.letters);
        for mut letter in said.letters {
            match self.network.carry(&mut letter, &mut self.weather) {
                Fate::Lost if letter.kind == MessageKind::Snapshot => self.report_snapshot(id, letter.to, false),
                Fate::Lost => {}
                Fate::Arrives(delays) => {
                    for delay in delays {
                        let happening = Happening::Letter(Box::new(letter.clone()));
                        self.schedule(delay, Event::Node(letter.to, None, happening));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends something that is not Raft's: over the same links, once.
    pub(super) fn post(&mut self, from: NodeId, to: NodeId, happening: Happening) {
        if let Some(delay) = self.network.delay(from, to, &mut self.weather) {
            self.schedule(delay, Event::Node(to, None, happening));
        }
    }

    pub(super) fn schedule(&mut self, delay: u64, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((self.now + delay, self.scheduled), event);
    }

    /// Something that a process does again after so many milliseconds of its own clock.
    fn again(&mut self, id: NodeId, own: u64, happening: Happening) {
        let Some((node, life)) = self.nodes.get(&id).and_then(|node| Some((node, node.life.as_ref()?))) else { return };
        let (delay, number) = (node.clock.real(own), life.number);
        self.schedule(delay, Event::Node(id, Some(number), happening));
    }

    fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        self.lives += 1;
        let (number, setup) = (self.lives, self.setup);
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.life.is_none()) else { return Ok(()) };
        let ended = node.start(number, &setup);
        let started = ended.is_ok();
        self.after_call(id, ended)?;
        if started {
            self.moves_in(id);
            let phase = self.weather.within(1..if setup.campaigns_meet() { 6 } else { TICK });
            let delay = TICK - self.now % TICK + phase;
            self.schedule(delay, Event::Node(id, Some(number), Happening::Tick));
            self.schedule(delay, Event::Node(id, Some(number), Happening::Duties));
        }
        Ok(())
    }

    /// The machine loses its power, and gets it back after a while.
    pub(super) fn crash(&mut self, id: NodeId, restart: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let was_running = node.life.is_some();
        let unheard = node.stopped.take().unwrap_or_default();
        self.stats.crashes += u64::from(was_running);
        self.stats.forgotten += node.crash(&mut self.faults);
        // Its connections end with what had not been taken from them.
        unheard.iter().for_each(|happening| self.missed(id, happening));
        if was_running {
            self.occurs(News::Ended { node: id });
        }
        self.schedule(restart, Event::Start(id));
    }

    /// Nodes that were admitted get a machine.
    pub(super) fn admit(&mut self) {
        let agreed = self.history.state().highest_node;
        for id in (1..=agreed.0).map(NodeId) {
            if !self.nodes.contains_key(&id) {
                self.found(id);
            }
        }
    }

    fn found(&mut self, id: NodeId) {
        let node = Node::new(id, &self.founders, self.setup.defect, &mut self.random);
        self.nodes.insert(id, node);
        self.schedule(1, Event::Start(id));
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm
    }

    /// From now on nothing breaks, and what is broken is mended.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.network.calm();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.schedule(1, Event::Start(id));
            self.schedule(1, Event::Continue(id));
            look(&self.nodes[&id].medium).light_fuse(None);
        }
    }

    pub(super) fn request(&mut self) -> u128 {
        self.requests += 1;
        self.requests
    }

    /// A running process, and what its clock shows.
    pub(super) fn life(&self, id: NodeId) -> Option<(&Life, u64)> {
        let node = self.nodes.get(&id)?;
        Some((node.life.as_ref()?, node.clock.now()))
    }

    pub(super) fn life_mut(&mut self, id: NodeId) -> Option<&mut Life> {
        self.nodes.get_mut(&id)?.life.as_mut()
    }

    /// What happened so far, all in all.
    pub(super) fn stats(&self) -> Stats {
        let snapshots = self.nodes.values().map(|node| look(&node.medium).installed()).sum();
        Stats {
            elections: self.history.terms_with_leader(),
            member_changes: self.history.changes(),
            entries: self.history.last(),
            writer_changes: self.writers.changes,
            snapshots,
            ..self.stats
        }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() == TRACED {
                trace.pop_front();
            }
            trace.push_back(text());
        }
    }

    /// The newest events.
    pub(super) fn trace(&self) -> String {
        self.trace.iter().flatten().map(|line| format!("{line}\n")).collect()
    }
}
