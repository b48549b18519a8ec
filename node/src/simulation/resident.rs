//! What lives on one node of the simulated group: the partition supervisor, its runs and the keeper of progress, as
//! the product starts them, in a task set of their own. A set that is not polled is a process that stands still; one
//! that is dropped is a process that was killed.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::task::Context;

use actix::{Actor as _, Addr};
use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::outcome::Outcome;
use causeway_core::state::State;
use futures::FutureExt as _;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, LocalSet};

use super::broker::Brokers;
use super::link::{Fault, Link, Target};
use crate::clock::{BootClock, BootInstant};
use crate::config::NodeConfig;
use crate::connect::Instances;
use crate::lease::{LeaseKeeper, MARGIN};
use crate::replicate::{self, PartitionExit, ReadAheadBudget, ReplicateSettings};
use crate::secrets::SecretStore;
use crate::status::{PartitionGauge, StatusBoard};
use crate::supervisor::checkpoint_keeper::{Keeping, keep};
use crate::supervisor::launch::{Launch, Shared, job};
use crate::supervisor::lifeline::Lifeline;
use crate::supervisor::partition_supervisor::{Drain, Equipment, PartitionSupervisor};
use crate::supervisor::progress_board::ProgressBoard;
use crate::supervisor::proposer::Proposer;

/// A question to the group, and where its answer goes.
type Question = (Command, oneshot::Sender<Result<Outcome, String>>);

/// What the group shows and is asked, on one node.
#[derive(Debug, Clone)]
struct Window {
    view: watch::Receiver<Arc<State>>,
    questions: Arc<Mutex<Vec<Question>>>,
}

impl Proposer for Window {
    type Error = String;

    async fn propose(&self, command: Command) -> Result<Outcome, Self::Error> {
        let (reply, answer) = oneshot::channel();
        self.questions.lock().unwrap().push((command, reply));
        answer.await.unwrap_or_else(|_| Err("nobody answers".to_owned()))
    }

    fn view(&self) -> Arc<State> {
        Arc::clone(&self.view.borrow())
    }

    fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.view.clone()
    }
}

/// Gauges of runs, each with the number of its queue.
type Gauges = Arc<Mutex<Vec<(usize, Arc<PartitionGauge>)>>>;

/// What all processes of a simulation have in common.
pub(super) struct Surroundings {
    pub(super) brokers: Arc<Brokers>,
    settings: Arc<ReplicateSettings>,
    /// What nodes do wrong on purpose.
    fault: Fault,
    /// Of every run that there ever was.
    gauges: Gauges,
    config: NodeConfig,
    secrets: Arc<SecretStore>,
    _directory: tempfile::TempDir,
}

impl Surroundings {
    pub(super) fn new(brokers: Arc<Brokers>, settings: ReplicateSettings, fault: Fault) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            brokers,
            settings: Arc::new(settings),
            fault,
            gauges: Arc::default(),
            config: NodeConfig::with_data_directory(directory.path()).unwrap(),
            secrets: Arc::new(SecretStore::open(directory.path()).unwrap()),
            _directory: directory,
        }
    }

    /// How many late copies were reported in a queue.
    pub(super) fn reported(&self, number: usize) -> u64 {
        let gauges = self.gauges.lock().unwrap();
        let of_queue = gauges.iter().filter(|(queue, _)| *queue == number).map(|(_, gauge)| gauge);
        // One gauge serves all runs of a partition for as long as the node has it.
        let unique: BTreeMap<_, _> = of_queue.map(|gauge| (Arc::as_ptr(gauge), gauge)).collect();
        unique.into_values().map(|gauge| gauge.figures().zombie_writes).sum()
    }
}

/// One process.
pub(super) struct Resident {
    tasks: LocalSet,
    view: watch::Sender<Arc<State>>,
    keeper: LeaseKeeper,
    questions: Arc<Mutex<Vec<Question>>>,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Outcome, String>>>,
    pub(super) stands_still: bool,
    /// Asks it to end.
    ending: watch::Sender<bool>,
    /// Whether it has ended, as it was asked to.
    ended: watch::Receiver<bool>,
}

impl Resident {
    /// Starts a process.
    pub(super) fn begin(node: NodeId, clock: BootClock, view: Arc<State>, around: &Surroundings) -> Self {
        let keeper = LeaseKeeper::new(clock, MARGIN);
        let (view, shown) = watch::channel(view);
        let questions = Arc::default();
        let window = Window { view: shown, questions: Arc::clone(&questions) };
        let progress = Arc::new(ProgressBoard::default());
        let (parts, _) = watch::channel(None);
        let (ending, stop) = watch::channel(false);
        let (at_end, ended) = watch::channel(false);
        let (link, gauges) = (Link::new(node, Arc::clone(&around.brokers)), Arc::clone(&around.gauges));
        let fault = around.fault;
        let equipment = Equipment {
            me: node,
            proposer: window.clone(),
            shared: Shared {
                instances: Arc::new(Instances::new(
                    window.watch(),
                    Arc::clone(&around.secrets),
                    around.config.connection,
                )),
                buffers: Arc::default(),
                budget: Arc::new(ReadAheadBudget::new(around.settings.node_read_ahead_bytes)),
                settings: Arc::clone(&around.settings),
                relaying: None,
            },
            lease: keeper.lease(),
            board: Arc::new(StatusBoard::default()),
            progress: Arc::clone(&progress),
            arbiters: Vec::new(),
            launcher: Arc::new(move |launch| {
                let number = usize::try_from(launch.agreed.id.source.queue).unwrap();
                gauges.lock().unwrap().push((number, Arc::clone(&launch.gauge)));
                copy(launch, link.clone(), number, fault).boxed_local()
            }),
            lifeline: Lifeline::new("supervisor", &parts),
        };
        let interval = around.config.schedule.checkpoint_interval;
        let keeping = Keeping { me: node, proposer: window, progress, interval };
        let tasks = LocalSet::new();
        tasks.spawn_local(async move {
            let supervisor = PartitionSupervisor::new(equipment).start();
            let (flush, flushes) = watch::channel(false);
            let keeper = tokio::task::spawn_local(keep(keeping, flushes));
            end(stop, supervisor, flush, keeper).await;
            at_end.send_replace(true);
            // A process that was not asked to end lives on.
            std::future::pending::<()>().await;
        });
        let waiting = BTreeMap::new();
        Self { tasks, view, keeper, questions, waiting, stands_still: false, ending, ended }
    }

    /// Asks it to end its runs, and to report what they did last.
    pub(super) fn ask_to_end(&self) {
        self.ending.send_replace(true);
    }

    /// Whether it has done so.
    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// How many partitions a node owns as far as it knows.
    pub(super) fn owned(&self, node: NodeId) -> usize {
        self.view.borrow().partitions.values().filter(|partition| partition.owner == Some(node)).count()
    }

    /// Lets everything run that can, unless the process stands still.
    pub(super) fn run(&mut self, context: &mut Context<'_>) {
        if !self.stands_still {
            let _ended = self.tasks.poll_unpin(context);
        }
    }

    /// What it asks the group; `ask` numbers the questions.
    pub(super) fn ask(&mut self, mut ask: impl FnMut(Command) -> u64) -> bool {
        let questions = std::mem::take(&mut *self.questions.lock().unwrap());
        let asked = !questions.is_empty();
        self.waiting.extend(questions.into_iter().map(|(command, reply)| (ask(command), reply)));
        asked
    }

    pub(super) fn answered(&mut self, ticket: u64, answer: Result<Outcome, String>) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            // Whoever asked may have given up.
            let _heard = reply.send(answer);
        }
    }

    pub(super) fn agreed(&self, view: Arc<State>) {
        self.view.send_replace(view);
    }

    pub(super) fn leased(&mut self, until: BootInstant) {
        self.keeper.renew(until);
    }
}

/// Ends when it is asked to, in the order in which a node stops its parts.
async fn end(
    mut asked: watch::Receiver<bool>,
    supervisor: Addr<PartitionSupervisor<Window>>,
    flush: watch::Sender<bool>,
    keeper: JoinHandle<()>,
) {
    if asked.wait_for(|asked| *asked).await.is_err() {
        return std::future::pending().await;
    }
    if let Ok(mut runs) = supervisor.send(Drain).await {
        let _gone = runs.wait_for(|runs| *runs == 0).await;
    }
    flush.send_replace(true);
    let _panicked = keeper.await;
}

/// One run, from the real launch to the real pipeline.
async fn copy(launch: Launch, link: Link, number: usize, fault: Fault) -> PartitionExit {
    let (brokers, node, epoch) = (Arc::clone(&link.brokers), link.node, launch.agreed.partition.epoch);
    brokers.note(&format!("node {node} starts {number} under {epoch}"));
    let source = brokers.sources[number].clone();
    let checkpoint = launch.agreed.partition.checkpoint.as_ref().map(|checkpoint| checkpoint.target_next);
    let hides_from = Arc::new(Mutex::new(checkpoint.filter(|_| fault == Fault::HidesTail)));
    let run = replicate::run_between(job(launch), source, Target { link, number, fault, hides_from });
    let exit = AssertUnwindSafe(run).catch_unwind().await.unwrap_or(PartitionExit::Panicked);
    if exit == PartitionExit::Panicked {
        brokers.breaks(format!("S9: a run of {number} panicked"));
    }
    brokers.note(&format!("node {node} ends {number} under {epoch}: {exit:?}"));
    exit
}
