//! The simulated group for whoever lives on its nodes: real partitions, in tests of the crate that runs them.
//!
//! ```text
//! step, pass --> Simulation --news--> whoever runs a node's partitions: began, leased, agreed, stopped, ended
//!                    ^                                   |
//!                    +------------- propose -------------+
//! ```
//!
//! The group's side is the one that [`super`] describes: replicas, disks, network, clocks, faults and the judges of all
//! that. Residents get what `Group` would give them, a view, a lease and answers, and are stopped and ended with their
//! node. The group itself plans and gives out partitions; letting go of them is the residents'.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::outcome::Outcome;
use causeway_core::state::State;

use super::world::{Event, Happening, Setup, World};
use super::{Defect, Violation};
use crate::clock::{BootClock, BootInstant};
use crate::group::CATCH_UP;

/// Who gets the answer to a proposal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    node: NodeId,
    life: u64,
    ticket: u64,
}

/// An answer on its way, or one that waits until its effect is visible.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    asker: Asker,
    answer: Result<Outcome, String>,
    applied_at_least: u64,
    /// Then it is given up that its effect becomes visible; set when it arrives.
    until: u64,
}

/// Something that residents have to know.
#[derive(Debug, Clone)]
pub enum News {
    /// A process began on a node. Nothing of the one before is left.
    Began {
        /// The node.
        node: NodeId,
        /// Its clock, which runs at a speed of its own.
        clock: BootClock,
        /// What its replica shows.
        view: Arc<State>,
    },
    /// The process is gone, with all that was in its memory.
    Ended {
        /// The node.
        node: NodeId,
    },
    /// The process stands still: nothing of it runs, and time passes.
    Stopped {
        /// The node.
        node: NodeId,
    },
    /// It runs again.
    WentOn {
        /// The node.
        node: NodeId,
    },
    /// The node's replica applied something.
    Agreed {
        /// The node.
        node: NodeId,
        /// What it shows now.
        view: Arc<State>,
    },
    /// The node may write until then, by its own clock; everything that was agreed when this was granted is visible.
    Leased {
        /// The node.
        node: NodeId,
        /// The end.
        until: BootInstant,
    },
    /// A proposal of this process is answered, and its effect is visible on the node. Many are never answered.
    Answered {
        /// The node.
        node: NodeId,
        /// What [`Simulation::propose`] returned.
        ticket: u64,
        /// What came of it, or why that is not known.
        answer: Result<Outcome, String>,
    },
}

/// What the group's side of a simulation does wrong, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Disks make nothing durable.
    SkippedBarriers,
    /// A lease counts from when it arrived.
    LeaseFromArrival,
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// How long nodes, links and clocks are hurt, in simulated seconds.
    pub seconds: u64,
    /// How many queues the stream has.
    pub partitions: u32,
    /// What is wrong on purpose.
    pub flaw: Option<Flaw>,
}

/// How often things happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps of the simulation.
    pub steps: u64,
    /// Processes that ended.
    pub crashes: u64,
    /// Processes that stood still.
    pub pauses: u64,
    /// Links that were cut.
    pub cuts: u64,
    /// Terms that had a leader.
    pub elections: u64,
    /// Changes of members.
    pub member_changes: u64,
    /// Snapshots that were installed.
    pub snapshots: u64,
    /// Partitions that were taken from a node and given to another.
    pub takeovers: u64,
    /// Leases that were granted.
    pub leases: u64,
    /// Of everything that happened, and when: two runs of one seed have the same.
    pub fingerprint: u64,
}

/// A simulated group.
pub struct Simulation {
    world: World,
    tickets: u64,
    /// What was agreed when everything was mended.
    agreed_by_then: Option<u64>,
}

impl Simulation {
    /// A group that is about to begin; `traced` keeps the newest events for [`Self::trace`].
    #[must_use]
    pub fn new(settings: Settings, traced: bool) -> Self {
        let setup = Setup {
            seed: settings.seed,
            seconds: settings.seconds,
            defect: settings.flaw.map(|flaw| match flaw {
                Flaw::SkippedBarriers => Defect::SkippedBarrier,
                Flaw::LeaseFromArrival => Defect::LeaseFromArrival,
            }),
            partitions: settings.partitions,
            // A disk that breaks promises is to be found by what comes of it.
            judges_promises: settings.flaw.is_none(),
            has_residents: true,
        };
        Self { world: World::new(setup, traced), tickets: 0, agreed_by_then: None }
    }

    /// When the next thing happens, as time since the beginning.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.world.next().map(Duration::from_millis)
    }

    /// Lets time pass until the next thing or less, and nothing happens.
    pub fn pass(&mut self, to: Duration) {
        self.world.pass(u64::try_from(to.as_millis()).unwrap_or(u64::MAX));
    }

    /// Lets the next thing happen.
    ///
    /// # Errors
    /// What it breaks.
    pub fn step(&mut self) -> Result<(), String> {
        self.world.step().map_err(|violation: Violation| violation.to_string())
    }

    /// What happened that residents have to know, in order.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.world.news)
    }

    /// Proposes for the process that runs on a node, as `Group::propose` does; answers the number of the question.
    pub fn propose(&mut self, node: NodeId, command: Command) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        let asker = self.world.life(node).map(|(life, _)| Asker { node, life: life.number, ticket });
        self.world.propose_for(node, command, asker);
        ticket
    }

    /// A process is to end and asks that its partitions go to other nodes first, as a node does that is stopped.
    pub fn leave(&mut self, node: NodeId) {
        let Some(process) = self.world.life(node).map(|(life, _)| life.process()) else { return };
        self.world.propose_for(node, Command::LeaveNode { node, process }, None);
    }

    /// A process that writes nothing any more gives its lease back and ends; the next one begins after a while.
    pub fn end(&mut self, node: NodeId, restart: Duration) {
        self.world.give_back(node);
        self.world.crash(node, u64::try_from(restart.as_millis()).unwrap_or(u64::MAX));
    }

    /// Stops a process for a while, as SIGSTOP does.
    pub fn pause(&mut self, node: NodeId, time: Duration) {
        self.world.pause(node, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// Everything that was agreed on by anybody so far.
    #[must_use]
    pub fn agreed(&self) -> &State {
        self.world.history.state()
    }

    /// From now on nothing of the group is hurt, and what is hurt is mended.
    pub fn calm_down(&mut self) {
        self.world.calm_down();
        self.agreed_by_then = Some(self.world.history.last());
    }

    /// Whether the group goes on since it was calmed: it is led, its members are those that are wanted, and all of them
    /// have applied everything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.agreed_by_then.is_some_and(|agreed| self.world.goes_on(agreed))
    }

    /// What stands where.
    #[must_use]
    pub fn outline(&self) -> String {
        self.world.outline()
    }

    /// The newest events.
    #[must_use]
    pub fn trace(&self) -> String {
        self.world.trace()
    }

    /// How often things happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let stats = self.world.stats();
        Counts {
            steps: stats.steps,
            crashes: stats.crashes,
            pauses: stats.pauses,
            cuts: stats.cuts,
            elections: stats.elections,
            member_changes: stats.member_changes,
            snapshots: stats.snapshots,
            takeovers: stats.takeovers,
            leases: stats.leases,
            fingerprint: stats.fingerprint,
        }
    }
}

impl World {
    pub(super) fn occurs(&mut self, news: News) {
        if self.setup.has_residents {
            self.news.push(news);
        }
    }

    pub(super) fn moves_in(&mut self, node: NodeId) {
        let Some(is) = self.nodes.get(&node) else { return };
        let (clock, Some(life)) = (is.clock.shown(), is.life.as_ref()) else { return };
        let view = life.replica.state();
        self.occurs(News::Began { node, clock, view });
    }

    /// A leader has an answer for whoever asked.
    pub(super) fn send_answer(&mut self, at: NodeId, asker: Asker, answer: Result<Outcome, String>, applied: u64) {
        let answered = Answered { asker, answer, applied_at_least: applied, until: u64::MAX };
        if asker.node == at {
            self.schedule(0, Event::Node(at, Some(asker.life), Happening::Answered(answered)));
        } else {
            self.post(at, asker.node, Happening::Answered(answered));
        }
    }

    pub(super) fn answer_arrived(&mut self, id: NodeId, answered: Answered) {
        let until = self.now + u64::try_from(CATCH_UP.as_millis()).unwrap();
        if let Some(life) = self.life_mut(id).filter(|life| life.number == answered.asker.life) {
            life.answered.push(Answered { until, ..answered });
        }
        self.tell_residents(id);
    }

    /// What changed for the residents of a node.
    pub(super) fn tell_residents(&mut self, id: NodeId) {
        if !self.setup.has_residents {
            return;
        }
        let now = self.now;
        let Some(life) = self.life_mut(id) else { return };
        let applied = life.status.applied;
        let (view, until) = (life.replica.state(), life.holder.until());
        let news = std::mem::replace(&mut life.told, (applied, until));
        let (visible, later) = std::mem::take(&mut life.answered)
            .into_iter()
            .partition::<Vec<_>, _>(|answered| answered.applied_at_least <= applied || answered.until <= now);
        life.answered = later;
        if news.0 != applied {
            self.occurs(News::Agreed { node: id, view });
        }
        // Behind the view: a lease begins on what was agreed when it was granted.
        if news.1 != until {
            self.occurs(News::Leased { node: id, until: BootInstant::from_nanos(until) });
        }
        for Answered { asker, answer, applied_at_least, .. } in visible {
            let is_visible = applied_at_least <= applied;
            let answer = if is_visible { answer } else { Err("its effect is not visible in time".to_owned()) };
            self.occurs(News::Answered { node: id, ticket: asker.ticket, answer });
        }
    }
}
