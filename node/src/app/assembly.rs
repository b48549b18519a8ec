//! The order in which a node's parts start and stop.
//!
//! Everything here runs on the node's own thread, inside its actor system. Threads for partitions are arbiters of that
//! system; the Raft replica and the HTTP server bring their own.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter};
use causeway_cluster::Group;
use causeway_cluster::transport::{Security, Tls};
use causeway_core::node::ProcessId;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::admin::seam::NodeIdentity;
use crate::admin::{self, AdminContext, AdminServer};
use crate::app::begin::{Begun, begin, decides_alone};
use crate::app::report::Reporter;
use crate::app::tenancy::{self, Tenancy};
use crate::app::{Error, Views, first_start, leaving, loads, neighbours, sampler};
use crate::clock;
use crate::config::{NodeConfig, RelaySection};
use crate::connect::Instances;
use crate::lease::Lease;
use crate::relay::members::Members;
use crate::relay::{self, Relaying};
use crate::replicate::ReadAheadBudget;
use crate::secrets::SecretStore;
use crate::status::StatusBoard;
use crate::status::node::{NodeBoard, NodeReport};
use crate::supervisor::checkpoint_keeper::{CheckpointKeeper, Flush, Keeping};
use crate::supervisor::controller::Controller;
use crate::supervisor::discovery::{Discovering, Discovery};
use crate::supervisor::launch::{Shared, launch};
use crate::supervisor::lifeline::Lifeline;
use crate::supervisor::partition_supervisor::{Drain, Equipment, PartitionSupervisor};
use crate::supervisor::progress_board::ProgressBoard;
use crate::telemetry::changes::Changes;
use crate::telemetry::{self, Membership, RateHistory, ScrapeOptions, Sources};

/// Threads that partitions run on, at most.
const MAXIMUM_ARBITERS: usize = 4;

/// How long an actor may take to answer while the node stops.
const ACTOR_PATIENCE: Duration = Duration::from_secs(5);

/// How long the last checkpoints may take. Without them the next start reads a little more of the target's tail.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// How long a replica may take to say why it ended, after the parts that live on it.
const REASON: Duration = Duration::from_secs(2);

/// Everything that runs.
pub(super) struct Assembly {
    config: NodeConfig,
    cluster: Group,
    process: ProcessId,
    first_token: Option<Zeroizing<String>>,
    instances: Arc<Instances>,
    board: Arc<StatusBoard>,
    rates: Arc<RateHistory>,
    /// What goes on beside the actors, and ends with the node.
    tasks: Vec<AbortHandle>,
    supervision: Supervision,
    tenancy: Tenancy,
    http: AdminServer,
    /// Why the node cannot be one of its cluster.
    faults: mpsc::Receiver<Error>,
    /// Which part has ended, if one has.
    ended: watch::Receiver<Option<&'static str>>,
}

/// What all nodes do, as this one was told.
#[derive(Clone)]
struct Everywhere {
    board: Arc<StatusBoard>,
    rates: Arc<RateHistory>,
    nodes: Arc<NodeBoard>,
}

/// The actors.
struct Supervision {
    arbiters: Vec<Arbiter>,
    keeper: Addr<CheckpointKeeper<Group>>,
    partitions: Addr<PartitionSupervisor<Group>>,
    _controller: Addr<Controller<Group>>,
    _discovery: Addr<Discovery<Group>>,
}

impl Assembly {
    /// Starts everything in order. What was started before a failure ends with the thread.
    pub(super) async fn start(mut config: NodeConfig) -> Result<Self, Error> {
        let begun = begin(&mut config).await?;
        let cluster = begun.group.clone();
        let parts = Self::start_on(config, begun).await;
        if parts.is_err() {
            // The data directory has to be free again when the caller hears of the failure.
            let _ = cluster.stop().await;
        }
        parts
    }

    async fn start_on(config: NodeConfig, begun: Begun) -> Result<Self, Error> {
        // Whatever may fail comes before the first token is agreed on: nobody would see it, and it is drawn once.
        let bound = admin::bind(config.http.listen)?;
        let secrets = Arc::new(SecretStore::open(&config.node.data_directory)?);
        let (ending, ended) = watch::channel(None);
        let (cluster, process) = (begun.group.clone(), begun.process);
        let alone = decides_alone(&cluster);
        if alone {
            first_start::found(&cluster).await?;
        }
        let board = Arc::new(StatusBoard::default());
        let (keeper, lease) = tenancy::keeper();
        // Nobody can be given the partitions of a node that is alone, and the lock of its data directory keeps other
        // processes away: it asks for leases only so that it is known to be up.
        let lease = if config.cluster.is_some() { lease } else { Lease::unlimited() };
        let security = begun.security(&config)?;
        let reporter = Reporter {
            group: cluster.clone(),
            lease: lease.clone(),
            relay: Arc::default(),
            tls: security.as_ref().and_then(certificates),
            changes: Arc::new(Changes::new(config.node.id)),
        };
        let nodes = Arc::new(NodeBoard::new(config.node.id, {
            let reporter = reporter.clone();
            Box::new(move || reporter.report())
        }));
        let figures = neighbours::told(Arc::clone(&board), Arc::downgrade(&nodes));
        begun.connect(&config, security, &secrets, figures, &ending).await?;
        if alone {
            first_start::introduce(&cluster, &config, Some(first_start::PATIENCE)).await?;
        }
        let instances = Arc::new(Instances::new(cluster.watch(), Arc::clone(&secrets), config.connection));
        let relaying = relaying(&config.relay, &cluster, &instances, process, Arc::clone(&reporter.relay));
        let rates = Arc::new(RateHistory::new());
        let everywhere = Everywhere { board: Arc::new(board.overview()), rates: Arc::new(RateHistory::new()), nodes };
        let context = context(&config, &reporter, &instances, (&board, &rates), &everywhere, secrets);
        let http = admin::start(context, bound, Lifeline::new("HTTP interface", &ending))?;
        let sampling = actix_rt::spawn({
            let (cluster, lifeline) = (cluster.clone(), Lifeline::new("sampler", &ending));
            sampler::sample(move || cluster.view(), Arc::clone(&board), Arc::clone(&rates), lifeline)
        });
        let supervision = match Supervision::start(&config, &cluster, &instances, &board, (lease, relaying), &ending) {
            Ok(supervision) => supervision,
            Err(error) => {
                http.stop().await;
                return Err(error);
            }
        };
        let (refused, faults) = mpsc::channel(1);
        let overlooking = actix_rt::spawn({
            let (cluster, lifeline) = (cluster.clone(), Lifeline::new("overview", &ending));
            let Everywhere { board, rates, .. } = everywhere.clone();
            sampler::sample(move || cluster.view(), board, rates, lifeline)
        });
        let asking = actix_rt::spawn({
            let Everywhere { board, nodes, .. } = everywhere.clone();
            neighbours::ask(cluster.clone(), board, nodes)
        });
        let mut tasks = vec![sampling.abort_handle(), overlooking.abort_handle(), asking.abort_handle()];
        tasks.push(actix_rt::spawn(reporter.watch()).abort_handle());
        let introduced = {
            let (cluster, config) = (cluster.clone(), config.clone());
            async move { if alone { Ok(()) } else { first_start::introduce(&cluster, &config, None).await } }
        };
        let reporting = loads::report(cluster.clone(), Arc::clone(&board), Arc::clone(&rates));
        tasks.push(actix_rt::spawn(reporting).abort_handle());
        let tenancy = Tenancy::begin(cluster.clone(), introduced, keeper, refused, Lifeline::new("lease", &ending));
        tracing::info!(node = %config.node.name, data = %config.node.data_directory.display(), http = %http.address, "node started");
        let first_token = None;
        let mut assembly = Self {
            config,
            cluster,
            process,
            first_token,
            instances,
            board,
            rates,
            tasks,
            supervision,
            tenancy,
            http,
            faults,
            ended,
        };
        if alone {
            match first_start::first_token(&assembly.cluster).await {
                Ok(token) => assembly.first_token = token,
                Err(error) => {
                    // What failed is told; that stopping failed too says nothing more.
                    let _ = assembly.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(assembly)
    }

    /// What the program that started the node may use.
    pub(super) fn views(&self) -> Views {
        Views {
            first_token: self.first_token.clone(),
            address: self.http.address,
            cluster: self.cluster.clone(),
            board: Arc::clone(&self.board),
            rates: Arc::clone(&self.rates),
            instances: Arc::clone(&self.instances),
        }
    }

    /// Returns when a part that the node cannot do without has ended.
    pub(super) async fn failed(&mut self) -> Error {
        let part = tokio::select! {
            biased;
            Some(error) = self.faults.recv() => return error,
            error = self.cluster.ended() => return error.into(),
            part = self.ended.wait_for(Option::is_some) => part.ok().and_then(|part| *part).unwrap_or("supervision"),
        };
        // A replica that ends takes the parts along before it has closed its disk and says why.
        match timeout(REASON, self.cluster.ended()).await {
            Ok(error) => error.into(),
            Err(_) => Error::PartEnded { part },
        }
    }

    /// Stops everything in order. Goes on to the next part when one takes too long.
    pub(super) async fn stop(self) -> Result<(), Error> {
        let Self { config, cluster, process, instances, tasks, supervision, tenancy, http, .. } = self;
        http.stop().await;
        tasks.iter().for_each(AbortHandle::abort);
        leaving::leave(&cluster, process, config.schedule.shutdown_grace).await;
        hand_over(&cluster).await;
        supervision.stop(config.schedule.shutdown_grace).await;
        tenancy.end().await;
        instances.close().await;
        let stopped = cluster.stop().await;
        tracing::info!(node = %config.node.name, "node stopped");
        Ok(stopped?)
    }
}

impl Supervision {
    fn start(
        config: &NodeConfig,
        cluster: &Group,
        instances: &Arc<Instances>,
        board: &Arc<StatusBoard>,
        (lease, relaying): (Lease, Relaying),
        ending: &watch::Sender<Option<&'static str>>,
    ) -> Result<Self, Error> {
        let arbiters = arbiters()?;
        let me = config.node.id;
        let progress = Arc::new(ProgressBoard::default());
        let keeping = Keeping {
            me,
            proposer: cluster.clone(),
            progress: Arc::clone(&progress),
            interval: config.schedule.checkpoint_interval,
        };
        let keeper = CheckpointKeeper::new(keeping, Lifeline::new("checkpoint keeper", ending)).start();
        let settings = Arc::new(config.replication.clone());
        let equipment = Equipment {
            me,
            proposer: cluster.clone(),
            shared: Shared {
                instances: Arc::clone(instances),
                budget: Arc::new(ReadAheadBudget::new(settings.node_read_ahead_bytes)),
                buffers: Arc::default(),
                settings,
                relaying: (config.cluster.is_some() && config.relay.enabled).then_some(relaying),
            },
            lease,
            board: Arc::clone(board),
            progress,
            arbiters: arbiters.iter().map(Arbiter::handle).collect(),
            launcher: Arc::new(|start| launch(start).boxed_local()),
            lifeline: Lifeline::new("partition supervisor", ending),
        };
        let partitions = PartitionSupervisor::new(equipment).start();
        let controller = Controller::new(cluster.clone(), Lifeline::new("controller", ending)).start();
        let discovering = Discovering {
            proposer: cluster.clone(),
            instances: Arc::clone(instances),
            board: Arc::clone(board),
            interval: config.schedule.discovery_interval,
        };
        let discovery = Discovery::new(discovering, Lifeline::new("discovery", ending)).start();
        Ok(Self { arbiters, keeper, partitions, _controller: controller, _discovery: discovery })
    }

    /// Ends all runs, then reports what they did last.
    async fn stop(self, grace: Duration) {
        if let Ok(Ok(mut runs)) = timeout(ACTOR_PATIENCE, self.partitions.send(Drain)).await {
            let in_time = timeout(grace, runs.wait_for(|runs| *runs == 0)).await.is_ok();
            if !in_time {
                let left = *runs.borrow();
                tracing::warn!(
                    left,
                    "runs did not end in time; the next start finds by the target's tail what they sent"
                );
            }
        }
        if let Ok(Ok(mut flushed)) = timeout(ACTOR_PATIENCE, self.keeper.send(Flush)).await {
            let in_time = timeout(FLUSH_PATIENCE, flushed.wait_for(|flushed| *flushed)).await.is_ok();
            if !in_time {
                tracing::warn!("the last progress was not written down; the next start finds it by the target's tail");
            }
        }
        for arbiter in self.arbiters {
            end(arbiter).await;
        }
    }
}

/// Hands over leadership before anything ends: what this node knows of leases goes with its term, so only whoever leads
/// next can be told that its own is given back.
async fn hand_over(cluster: &Group) {
    let leads = cluster.status().leader == Some(cluster.me());
    if leads
        && !decides_alone(cluster)
        && let Err(error) = cluster.hand_over().await
    {
        tracing::debug!(%error, "leadership was not handed over yet");
    }
}

/// Stops a thread and waits for it, but not for ever: a thread of ours waits, which a runtime would not let go.
async fn end(arbiter: Arbiter) {
    arbiter.stop();
    let (ended, end) = oneshot::channel();
    let waiting = thread::Builder::new().name("causeway-join".to_owned()).spawn(move || {
        let _ = arbiter.join();
        let _ = ended.send(());
    });
    if waiting.is_err() || timeout(ACTOR_PATIENCE, end).await.is_err() {
        tracing::error!("a thread of partitions did not end; the process takes it along");
    }
}

/// One for every two cores, within bounds. A thread copies more than half a million messages of 1 KiB a second, far
/// more than brokers of that size take, and the fewer threads share the work, the less often one has to be woken for
/// it.
fn arbiters() -> Result<Vec<Arbiter>, Error> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let arbiter = |_| Arbiter::try_new();
    let started: Result<Vec<_>, _> = (0..cores.div_ceil(2).min(MAXIMUM_ARBITERS)).map(arbiter).collect();
    started.map_err(|error| Error::System { what: "thread", reason: error.to_string() })
}

/// Serves other nodes as a relay, and finds those that relay to this one.
fn relaying(
    section: &RelaySection,
    cluster: &Group,
    instances: &Arc<Instances>,
    process: ProcessId,
    figures: Arc<relay::Figures>,
) -> Relaying {
    let settings = section.settings.clone();
    if section.enabled {
        let server = relay::server(Arc::clone(instances), cluster.watch(), process.0, &settings, Arc::clone(&figures));
        // It is the first: this is done once for each cluster handle.
        let _first = cluster.serve_streams(server);
    }
    Relaying {
        relays: Arc::new(Members::new(cluster.clone())),
        windows: Arc::new(ReadAheadBudget::new(settings.node_window_bytes)),
        settings,
        figures,
    }
}

/// The certificates that protect connections, where they do.
fn certificates(security: &Security) -> Option<Arc<Tls>> {
    match security {
        Security::Tls(tls) => Some(Arc::clone(tls)),
        Security::Plain => None,
    }
}

fn context(
    config: &NodeConfig,
    reporter: &Reporter,
    instances: &Arc<Instances>,
    (board, rates): (&Arc<StatusBoard>, &Arc<RateHistory>),
    everywhere: &Everywhere,
    secrets: Arc<SecretStore>,
) -> AdminContext {
    let node = config.node.clone();
    let scrape = {
        let (node, reporter) = (node.name.clone(), reporter.clone());
        let (board, overview, history) = (Arc::clone(board), Arc::clone(&everywhere.board), Arc::clone(rates));
        move |options: ScrapeOptions| {
            let (view, raft) = (reporter.group.view(), reporter.group.status());
            let NodeReport { figures, known } = reporter.report();
            let connected = reporter.connected();
            let member = Membership {
                me: reporter.group.me(),
                figures: &figures,
                known: &known,
                connected: &connected,
                counted: reporter.changes.counted(),
            };
            let sources = Sources {
                node: &node,
                view: &view,
                board: &board,
                everywhere: &overview,
                history: &history,
                raft: Some(&raft),
                member: Some(member),
                now: clock::now(),
            };
            telemetry::render(&sources, options)
        }
    };
    AdminContext {
        node: NodeIdentity {
            id: node.id,
            name: node.name,
            region: node.region,
            version: env!("CARGO_PKG_VERSION"),
            started_at: clock::now(),
        },
        cluster: Arc::new(reporter.group.clone()),
        instances: Arc::clone(instances),
        board: Arc::clone(&everywhere.board),
        rates: Arc::clone(&everywhere.rates),
        nodes: Arc::clone(&everywhere.nodes),
        secrets,
        metrics: Arc::new(scrape),
    }
}
