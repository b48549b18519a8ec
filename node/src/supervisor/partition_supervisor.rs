//! The actor that makes what runs on this node be what was agreed.
//!
//! ```text
//! agreed state changed --+
//! a run ended -----------+--> reconcile --> start, stop, keep, wait
//! a rest is over --------+
//! the lease is valid ----+
//! ```
//!
//! Parts: the table of runs ([`Running`] and a [`Slot`] each), what is remembered of a partition between its runs
//! ([`Memory`]). The decisions are made in [`reconcile`](super::reconcile) and [`exits`](super::exits); this file
//! carries them out, and `hand_over` what is about other nodes. Never starts a partition whose earlier run has not
//! ended, nor one without a lease, and never resumes a run.

mod hand_over;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message, MessageResult, StreamHandler,
    WrapFuture,
};
use causeway_core::command::Command;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{Epoch, NodeId, Timestamp};
use causeway_core::name::Name;
use causeway_core::outcome::Outcome;
use causeway_core::partition::PartitionId;
use causeway_core::state::State;
use causeway_core::stream::DesiredState;
use futures::future::LocalBoxFuture;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock;
use crate::lease::{Lease, LeaseLost, Tenure};
use crate::replicate::{InFlight, PartitionExit, StopSignal};
use crate::status::{PartitionGauge, RunState, StatusBoard};
use crate::supervisor::back_off::BackOff;
use crate::supervisor::exits::{Place, Shown, Strikes, Verdict, WAITS_FOR_LEASE, judge};
use crate::supervisor::launch::{Agreed, Launch, Shared};
use crate::supervisor::lifeline::Lifeline;
use crate::supervisor::partition_actor::{PartitionActor, RunEnded};
use crate::supervisor::progress_board::ProgressBoard;
use crate::supervisor::proposer::Proposer;
use crate::supervisor::reconcile::{Action, Run, Running, Terms, reconcile, still_rests, wanted};
use crate::supervisor::target_locks::TargetLocks;
use crate::supervisor::view_changes::{ViewChanged, view_changes};

/// Changes of the agreed state within this time are looked at once.
const PAUSE: Duration = Duration::from_millis(50);

/// How many partitions are started at once; the rest follows after [`PAUSE`].
const STARTS_AT_ONCE: usize = 64;

/// How long a proposal may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Turns a launch into a pipeline. The node's is [`launch`](super::launch::launch); tests have others.
pub type Launcher = Arc<dyn Fn(Launch) -> LocalBoxFuture<'static, PartitionExit> + Send + Sync>;

/// What the supervisor works with.
pub struct Equipment<P> {
    /// This node.
    pub me: NodeId,
    /// Shows what was agreed, and agrees.
    pub proposer: P,
    /// What every run gets.
    pub shared: Shared,
    /// When this node may write.
    pub lease: Lease,
    /// Where live figures are kept.
    pub board: Arc<StatusBoard>,
    /// Where progress is collected.
    pub progress: Arc<ProgressBoard>,
    /// Threads that runs are spread over; without any, runs share the supervisor's.
    pub arbiters: Vec<ArbiterHandle>,
    /// Makes pipelines.
    pub launcher: Launcher,
    /// Tells when this actor has ended.
    pub lifeline: Lifeline,
}

impl<P: Proposer> Equipment<P> {
    /// The client of a lost end is made anew where that may help.
    fn forget_refused(&self, id: &PartitionId, exit: &PartitionExit) {
        let view = self.proposer.view();
        let Some(stream) = view.stream_by_id(id.stream) else { return };
        let (end, code) = match exit {
            PartitionExit::SourceLost { code, .. } => (&stream.spec.source, *code),
            PartitionExit::SinkLost { code, .. } => (&stream.spec.target, *code),
            _ => return,
        };
        self.shared.instances.forget_refused(&end.instance, code);
    }
}

/// What each log line about a run names.
#[derive(Clone)]
struct Subject {
    stream: Name,
    partition: PartitionId,
    epoch: Epoch,
}

impl Subject {
    /// The present ownership of a partition.
    fn about(view: &State, id: &PartitionId) -> Option<Self> {
        let stream = view.stream_name_of(id)?.clone();
        Some(Self { stream, partition: id.clone(), epoch: view.partitions.get(id)?.epoch })
    }

    /// Tells what was agreed about the end of a run: a fault waits for an operator, a rewind heals by itself.
    fn agreed(&self, command: &Command) {
        let Self { stream, partition, epoch } = self;
        match command {
            Command::RaiseFault { fault, .. } => {
                let code = fault.code();
                tracing::error!(%stream, %partition, %epoch, %code, %fault, "partition waits for a decision");
            }
            Command::Rewind { checkpoint, .. } => {
                let source_next = checkpoint.source_next;
                tracing::warn!(%stream, %partition, %epoch, source_next, "the target lost messages; copying goes back");
            }
            _ => {}
        }
    }
}

/// A run and what belongs to it.
struct Slot {
    subject: Subject,
    stop: StopSignal,
    gauge: Arc<PartitionGauge>,
    /// Figures when it began, to see whether it got anywhere.
    began: Began,
    _actor: Addr<PartitionActor>,
}

#[derive(Clone, Copy)]
struct Began {
    durable_next: Option<i64>,
    written_messages: u64,
    /// Where the agreed checkpoint stood.
    source_next: i64,
}

/// What is remembered of a partition between its runs.
#[derive(Default)]
struct Memory {
    back_off: BackOff,
    strikes: Strikes,
    /// What may be on its way to its target, as of the ownership of this epoch.
    in_flight: Option<(Epoch, Arc<InFlight>)>,
}

/// The actor.
pub struct PartitionSupervisor<P> {
    equipment: Equipment<P>,
    running: Running,
    slots: BTreeMap<PartitionId, Slot>,
    memory: BTreeMap<PartitionId, Memory>,
    /// Partitions that have a gauge on the board.
    shown: BTreeSet<PartitionId>,
    locks: TargetLocks,
    next_arbiter: usize,
    /// Somebody waits for the lease already.
    waits_for_lease: bool,
    draining: bool,
    /// How many runs have not ended.
    runs: watch::Sender<usize>,
}

/// Starts nothing any more, lets go of nothing, and asks every run to end. Answers with the number of runs, which goes
/// down to zero.
#[derive(Debug, Message)]
#[rtype(result = "watch::Receiver<usize>")]
pub struct Drain;

impl<P: Proposer> PartitionSupervisor<P> {
    /// A supervisor with nothing running.
    #[must_use]
    pub fn new(equipment: Equipment<P>) -> Self {
        Self {
            equipment,
            running: Running::default(),
            slots: BTreeMap::new(),
            memory: BTreeMap::new(),
            shown: BTreeSet::new(),
            locks: TargetLocks::default(),
            next_arbiter: 0,
            waits_for_lease: false,
            draining: false,
            runs: watch::Sender::new(0),
        }
    }

    fn reconcile(&mut self, context: &mut Context<Self>) {
        if self.draining {
            return;
        }
        // Before the view: whatever was agreed when this tenure began is in it.
        let lease = self.equipment.lease.tenure();
        let view = self.equipment.proposer.view();
        let me = self.equipment.me;
        self.forget_what_is_over(&view);
        self.equipment.shared.instances.keep_current(&view);
        let (mut starts, mut postponed) = (0, false);
        for action in reconcile(me, &view, &self.running) {
            match (action, &lease) {
                (Action::Stop(id), _) => self.stop(&view, &id),
                (Action::Start(id, _), Err(LeaseLost)) => self.wait_for_lease(&view, &id, context),
                (Action::Start(id, terms), Ok(lease)) if starts < STARTS_AT_ONCE => {
                    starts += 1;
                    self.start(&view, &id, terms, lease.clone(), context);
                }
                (Action::Start(..), Ok(_)) => postponed = true,
                // What a process claims of an ownership holds only once its own start is agreed on.
                (Action::Release(_) | Action::Renew(_), Err(LeaseLost)) => self.wake_with_lease(context),
                (Action::Release(id), Ok(_)) => self.release(&view, &id, context),
                (Action::Renew(id), Ok(_)) => self.renew(&view, &id, context),
                (Action::Keep(_) | Action::Wait(_), _) => {}
            }
        }
        if postponed {
            context.run_later(PAUSE, Self::reconcile);
        }
        self.show_what_stands_still(&view);
    }

    /// Shows what a partition waits for, and looks at all again when the node may write.
    fn wait_for_lease(&mut self, view: &State, id: &PartitionId, context: &mut Context<Self>) {
        let gauge = self.gauge(id, view, clock::now());
        let state = gauge.condition().state;
        let (state, code) = match state {
            RunState::Blocked => (state, Some(ErrorCode::Unavailable)),
            _ => (RunState::Starting, None),
        };
        gauge.set_condition(state, code, Some(WAITS_FOR_LEASE.to_owned()), clock::now());
        self.wake_with_lease(context);
    }

    fn wake_with_lease(&mut self, context: &mut Context<Self>) {
        if !std::mem::replace(&mut self.waits_for_lease, true) {
            let lease = self.equipment.lease.clone();
            let valid = async move { lease.wait_until_valid().await };
            context.spawn(valid.into_actor(self).map(|(), supervisor, context| {
                supervisor.waits_for_lease = false;
                supervisor.reconcile(context);
            }));
        }
    }

    fn start(&mut self, view: &State, id: &PartitionId, terms: Terms, lease: Tenure, context: &mut Context<Self>) {
        let Some(agreed) = Agreed::about(view, id) else { return };
        let in_flight = self.in_flight(id, &agreed.partition);
        let gauge = self.gauge(id, view, clock::now());
        if !matches!(gauge.condition().state, RunState::Blocked | RunState::Starting) {
            gauge.set_condition(RunState::Starting, None, None, clock::now());
        }
        let figures = gauge.figures();
        let began = Began {
            durable_next: figures.durable_next,
            written_messages: figures.written_messages,
            source_next: agreed.partition.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.source_next),
        };
        let target = &agreed.stream.spec.target;
        let target_lock = self.locks.lock_of(agreed.target.identity, &target.topic, &agreed.partition.target);
        let progress = self.equipment.progress.watch(id, Arc::clone(&gauge));
        let stop = StopSignal::default();
        let subject = Subject { stream: agreed.stream.spec.name.clone(), partition: id.clone(), epoch: terms.epoch };
        tracing::info!(stream = %subject.stream, partition = %id, epoch = %terms.epoch, "partition starts");
        let launch = Launch {
            agreed,
            shared: self.equipment.shared.clone(),
            gauge: Arc::clone(&gauge),
            progress,
            target_lock,
            stop: stop.clone(),
            lease,
            in_flight,
        };
        gauge.set_runs(true);
        let launcher = Arc::clone(&self.equipment.launcher);
        let actor = PartitionActor::new(id.clone(), Box::new(move || launcher(launch)), context.address().recipient());
        let actor = match self.next_arbiter() {
            Some(arbiter) => PartitionActor::start_in_arbiter(&arbiter, move |_| actor),
            None => actor.start(),
        };
        self.slots.insert(id.clone(), Slot { subject, stop, gauge, began, _actor: actor });
        self.running.resting.remove(id);
        self.running.runs.insert(id.clone(), Run { terms, stopping: false });
        self.runs.send_replace(self.running.runs.len());
    }

    fn stop(&mut self, view: &State, id: &PartitionId) {
        if let (Some(run), Some(slot)) = (self.running.runs.get_mut(id), self.slots.get(id)) {
            run.stopping = true;
            slot.stop.stop();
            if view.stream_by_id(id.stream).is_none() {
                slot.gauge.set_condition(RunState::Deleting, None, None, clock::now());
            }
        }
    }

    fn ended(&mut self, id: &PartitionId, exit: PartitionExit, context: &mut Context<Self>) {
        let (Some(run), Some(slot)) = (self.running.runs.remove(id), self.slots.remove(id)) else { return };
        self.equipment.progress.unwatch(id);
        slot.gauge.set_runs(false);
        self.runs.send_replace(self.running.runs.len());
        let figures = slot.gauge.figures();
        let memory = self.memory.entry(id.clone()).or_default();
        let advanced = slot.began.durable_next.is_some_and(|began| figures.durable_next > Some(began));
        if advanced || figures.written_messages > slot.began.written_messages {
            memory.back_off.reset();
        }
        let place = Place {
            partition: id.clone(),
            epoch: run.terms.epoch,
            offset: figures.durable_next.unwrap_or(slot.began.source_next),
            asked: run.stopping,
        };
        let stream = &slot.subject.stream;
        tracing::info!(%stream, partition = %id, epoch = %run.terms.epoch, ?exit, "partition ended");
        self.equipment.forget_refused(id, &exit);
        let Verdict { propose, shown, rest } = judge(exit, &place, &mut memory.strikes);
        if rest {
            let pause = memory.back_off.next(spread(self.equipment.me, id));
            // A rewind makes the next epoch; the rest has to hold for it too.
            let rewinds = matches!(propose, Some(Command::Rewind { .. }));
            let epoch = if rewinds { run.terms.epoch.next() } else { run.terms.epoch };
            let terms = Terms { epoch, ..run.terms };
            self.running.resting.insert(id.clone(), terms);
            let rested = id.clone();
            context.run_later(pause, move |supervisor, context| supervisor.rested(&rested, terms, context));
        }
        if let Some(Shown { state, code, why }) = shown {
            slot.gauge.set_condition(state, code, Some(why), clock::now());
        }
        if let Some(command) = propose {
            self.propose(slot.subject, command, context);
        }
        self.reconcile(context);
    }

    fn rested(&mut self, id: &PartitionId, terms: Terms, context: &mut Context<Self>) {
        if self.running.resting.get(id) == Some(&terms) {
            self.running.resting.remove(id);
            self.reconcile(context);
        }
    }

    /// Bounded: one proposal for each end of a run.
    fn propose(&self, subject: Subject, command: Command, context: &mut Context<Self>) {
        let proposer = self.equipment.proposer.clone();
        let proposal = async move {
            let outcome = timeout(PATIENCE, proposer.propose(command.clone())).await;
            let Subject { stream, partition, epoch } = &subject;
            match outcome {
                Ok(Ok(Outcome::Refused(refusal))) => {
                    tracing::warn!(%stream, %partition, %epoch, %refusal, "proposal refused");
                }
                Ok(Ok(_)) => subject.agreed(&command),
                Ok(Err(error)) => {
                    tracing::warn!(%stream, %partition, %epoch, %error, "proposal not agreed on; it is made again");
                }
                Err(_) => {
                    tracing::warn!(%stream, %partition, %epoch, "proposal not answered in time; it is made again");
                }
            }
        };
        context.spawn(proposal.into_actor(self).map(|(), supervisor, context| supervisor.reconcile(context)));
    }

    /// Drops rests that no longer hold, and everything about partitions that this node no longer has.
    fn forget_what_is_over(&mut self, view: &State) {
        let me = self.equipment.me;
        let Running { runs, resting, letting_go } = &mut self.running;
        letting_go.keep_current(me, view);
        let ours = |id: &PartitionId| view.partitions.get(id).is_some_and(|partition| partition.owner == Some(me));
        resting.retain(|id, rest| {
            let partition = view.partitions.get(id);
            let agreed = partition.and_then(|partition| wanted(me, view, id, partition));
            agreed.is_some_and(|agreed| still_rests(*rest, agreed))
        });
        self.memory.retain(|id, _| ours(id) || runs.contains_key(id));
        let board = &self.equipment.board;
        self.shown.retain(|id| {
            let keep = ours(id) || runs.contains_key(id);
            if !keep {
                board.remove(id);
            }
            keep
        });
    }

    /// Shows why partitions of this node that should not run do not.
    fn show_what_stands_still(&mut self, view: &State) {
        for (id, partition) in &view.partitions {
            if partition.owner != Some(self.equipment.me) || self.running.runs.contains_key(id) {
                continue;
            }
            let Some(stream) = view.stream_by_id(id.stream) else { continue };
            if let Some(raised) = &partition.fault {
                let (code, why) = (Some(raised.fault.code()), Some(raised.fault.to_string()));
                self.gauge(id, view, raised.since).set_condition(RunState::Faulted, code, why, raised.since);
            } else if stream.desired == DesiredState::Paused {
                let since = stream.changed_at;
                self.gauge(id, view, since).set_condition(RunState::Paused, None, None, since);
            } else if let Some(node) = partition.moving_to.and_then(|to| view.nodes.get(&to)) {
                let (why, now) = (format!("it moves to node {}", node.name), clock::now());
                self.gauge(id, view, now).set_condition(RunState::Starting, None, Some(why), now);
            }
        }
    }

    fn gauge(&mut self, id: &PartitionId, view: &State, now: Timestamp) -> Arc<PartitionGauge> {
        self.shown.insert(id.clone());
        let epoch = view.partitions.get(id).map(|partition| partition.epoch).unwrap_or_default();
        self.equipment.board.partition(id, epoch, now)
    }

    fn next_arbiter(&mut self) -> Option<ArbiterHandle> {
        let place = self.next_arbiter.checked_rem(self.equipment.arbiters.len())?;
        self.next_arbiter = self.next_arbiter.wrapping_add(1);
        self.equipment.arbiters.get(place).cloned()
    }
}

/// Moves the rests of a partition apart from those of others: always the same for it, so that a simulation is the same
/// run again.
fn spread(me: NodeId, id: &PartitionId) -> u32 {
    let mut hasher = DefaultHasher::new();
    (me, id).hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX)
}

impl<P: Proposer> Actor for PartitionSupervisor<P> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.add_stream(view_changes(self.equipment.proposer.watch(), PAUSE));
    }
}

impl<P: Proposer> StreamHandler<ViewChanged> for PartitionSupervisor<P> {
    fn handle(&mut self, _: ViewChanged, context: &mut Self::Context) {
        self.reconcile(context);
    }

    /// The cluster's handle is gone: the node is stopping. The actor stays to drain what runs.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl<P: Proposer> Handler<RunEnded> for PartitionSupervisor<P> {
    type Result = ();

    fn handle(&mut self, message: RunEnded, context: &mut Self::Context) {
        self.ended(&message.partition, message.exit, context);
    }
}

impl<P: Proposer> Handler<Drain> for PartitionSupervisor<P> {
    type Result = MessageResult<Drain>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        let view = self.equipment.proposer.view();
        for id in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.stop(&view, &id);
        }
        MessageResult(self.runs.subscribe())
    }
}
