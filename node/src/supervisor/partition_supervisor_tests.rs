//! The supervisor with pipelines that end as told, on virtual time: no broker, no thread.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr};
use causeway_core::command::{Command, Progress};
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::{Fault, Resolution};
use causeway_core::ids::Epoch;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::config::NodeConfig;
use crate::connect::Instances;
use crate::lease::{Lease, LeaseKeeper};
use crate::replicate::{PartitionExit, ReadAheadBudget};
use crate::secrets::SecretStore;
use crate::status::{RunState, StatusBoard};
use crate::supervisor::fake_cluster::FakeCluster;
use crate::supervisor::launch::{Launch, Shared};
use crate::supervisor::lifeline::Lifeline;
use crate::supervisor::partition_supervisor::{Drain, Equipment, PartitionSupervisor};
use crate::supervisor::progress_board::ProgressBoard;
use crate::supervisor::proposer::Proposer;
use crate::supervisor::testing::{ME, OTHER, Replica, checkpoint};
use crate::telemetry::captured::Lines;

/// What pipelines did.
#[derive(Default)]
pub(super) struct Log {
    pub(super) starts: Mutex<Vec<(Instant, Epoch)>>,
    pub(super) running: AtomicUsize,
    most: AtomicUsize,
    /// Where the next pipeline stands when it ends.
    offset: AtomicI64,
}

impl Log {
    pub(super) fn starts(&self) -> usize {
        self.starts.lock().unwrap().len()
    }

    /// The times between starts.
    fn rests(&self) -> Vec<Duration> {
        self.starts.lock().unwrap().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

pub(super) struct Rig {
    pub(super) cluster: FakeCluster,
    pub(super) board: Arc<StatusBoard>,
    pub(super) progress: Arc<ProgressBoard>,
    pub(super) log: Arc<Log>,
    supervisor: Addr<PartitionSupervisor<FakeCluster>>,
    ended: watch::Receiver<Option<&'static str>>,
    _directory: tempfile::TempDir,
}

/// How a pipeline of a test runs.
pub(super) type Pipeline = fn(Launch, Arc<Log>) -> LocalBoxFuture<'static, PartitionExit>;

impl Rig {
    pub(super) fn start(replica: Replica, pipeline: Pipeline) -> Self {
        Self::start_with(replica, pipeline, Lease::unlimited())
    }

    pub(super) fn start_with(replica: Replica, pipeline: Pipeline, lease: Lease) -> Self {
        let cluster = FakeCluster::new(replica);
        let directory = tempfile::tempdir().unwrap();
        let config = NodeConfig::with_data_directory(directory.path()).unwrap();
        let secrets = Arc::new(SecretStore::open(directory.path()).unwrap());
        let board = Arc::new(StatusBoard::default());
        let log = Arc::new(Log::default());
        let progress = Arc::new(ProgressBoard::default());
        let (ending, ended) = watch::channel(None);
        let written = Arc::clone(&log);
        let equipment = Equipment {
            me: ME,
            proposer: cluster.clone(),
            shared: Shared {
                instances: Arc::new(Instances::new(cluster.watch(), secrets, config.connection)),
                buffers: Arc::default(),
                budget: Arc::new(ReadAheadBudget::new(config.replication.node_read_ahead_bytes)),
                settings: Arc::new(config.replication),
                relaying: None,
            },
            lease,
            board: Arc::clone(&board),
            progress: Arc::clone(&progress),
            arbiters: Vec::new(),
            launcher: Arc::new(move |launch| logged(launch, Arc::clone(&written), pipeline).boxed_local()),
            lifeline: Lifeline::new("supervisor", &ending),
        };
        let supervisor = PartitionSupervisor::new(equipment).start();
        Self { cluster, board, progress, log, supervisor, ended, _directory: directory }
    }

    pub(super) fn state(&self) -> Option<RunState> {
        self.board.partitions().values().next().map(|figures| figures.condition.state)
    }

    fn fault(&self) -> Option<Fault> {
        self.cluster.view().partitions.values().next()?.fault.clone().map(|raised| raised.fault)
    }
}

async fn logged(launch: Launch, log: Arc<Log>, pipeline: Pipeline) -> PartitionExit {
    log.starts.lock().unwrap().push((Instant::now(), launch.agreed.partition.epoch));
    let running = log.running.fetch_add(1, Ordering::SeqCst) + 1;
    log.most.fetch_max(running, Ordering::SeqCst);
    launch.gauge.set_durable(log.offset.load(Ordering::SeqCst), None);
    let leaves = Leaves(Arc::clone(&log));
    let exit = pipeline(launch, log).await;
    drop(leaves);
    exit
}

/// Counts down also when the pipeline panics.
struct Leaves(Arc<Log>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn until_stopped(launch: Launch, _: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
    async move {
        launch.stop.stopped().await;
        PartitionExit::Stopped
    }
    .boxed_local()
}

fn panics(_: Launch, _: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
    async { panic!("on purpose") }.boxed_local()
}

pub(super) async fn on_virtual_time(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn five_panics_at_one_offset_park_the_partition_until_it_is_resolved() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), panics);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.fault(), Some(Fault::Panicked { next: 0, times: 5 }));
        assert_eq!((rig.log.starts(), rig.state()), (5, Some(RunState::Faulted)));

        sleep(Duration::from_secs(3_600)).await;
        assert_eq!(rig.log.starts(), 5, "nothing runs before a decision");
        rig.cluster.change(|replica| {
            let partition = replica.partition(0);
            replica.apply(Command::ResolveFault { partition, resolution: Resolution::Retry })
        });
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.log.starts(), 6, "a decision is carried out at once");
        assert_eq!(*rig.ended.borrow(), None, "the supervisor survives its partitions' panics");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_tried_for_ever_with_growing_rests_that_progress_resets() {
    fn lost(_: Launch, _: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
        async { PartitionExit::SinkLost { code: ErrorCode::Unreachable, why: "no route".into() } }.boxed_local()
    }
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), lost);
        sleep(Duration::from_secs(3_600)).await;
        assert_eq!((rig.fault(), rig.state()), (None, Some(RunState::Blocked)));
        let starts = rig.log.starts();
        assert!((45..90).contains(&starts), "{starts} starts in an hour, about one a minute");
        let rests = rig.log.rests();
        assert!(rests[0] < Duration::from_millis(1_300) && rests[8] > Duration::from_secs(40));

        rig.log.offset.store(100, Ordering::SeqCst);
        sleep(Duration::from_secs(80)).await;
        let after = rig.log.rests().split_off(starts - 1);
        assert!(after.iter().any(|rest| *rest < Duration::from_millis(1_300)), "progress ends long rests: {after:?}");
    })
    .await;
}

/// A run whose last send takes ten seconds.
pub(super) fn slow_to_stop(launch: Launch, _: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
    async move {
        launch.stop.stopped().await;
        sleep(Duration::from_secs(10)).await;
        PartitionExit::Stopped
    }
    .boxed_local()
}

#[tokio::test(start_paused = true)]
async fn an_old_run_ends_before_the_next_epoch_starts() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), slow_to_stop);
        sleep(Duration::from_secs(1)).await;
        for _ in 0..3 {
            rig.cluster.change(|replica| replica.node_started(ME));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(rig.log.starts(), 1, "the old run is still ending");
        sleep(Duration::from_secs(10)).await;
        let epochs: Vec<_> = rig.log.starts.lock().unwrap().iter().map(|(_, epoch)| epoch.0).collect();
        assert_eq!((epochs, rig.log.most.load(Ordering::SeqCst)), (vec![1, 4], 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pause_resume_and_delete_are_followed() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(100), until_stopped);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.log.running.load(Ordering::SeqCst), 100);
        rig.cluster.change(Replica::pause);
        sleep(Duration::from_secs(1)).await;
        assert_eq!((rig.log.running.load(Ordering::SeqCst), rig.state()), (0, Some(RunState::Paused)));
        rig.cluster.change(Replica::resume);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.log.running.load(Ordering::SeqCst), 100);
        rig.cluster.change(Replica::delete_stream);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.log.running.load(Ordering::SeqCst), 0);
        assert!(rig.board.partitions().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_end_shows_until_it_has() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), slow_to_stop);
        let runs = || rig.board.partitions().values().map(|figures| figures.runs).collect::<Vec<_>>();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(runs(), [true]);
        rig.cluster.change(Replica::pause);
        sleep(Duration::from_secs(9)).await;
        assert_eq!(runs(), [true], "its last send has not ended");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(runs(), [false]);
        rig.cluster.change(Replica::resume);
        sleep(Duration::from_secs(1)).await;
        rig.cluster.change(Replica::delete_stream);
        sleep(Duration::from_secs(9)).await;
        assert_eq!((runs(), rig.state()), (vec![true], Some(RunState::Deleting)));
        sleep(Duration::from_secs(2)).await;
        assert!(runs().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn draining_ends_every_run_and_starts_none() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(10), until_stopped);
        sleep(Duration::from_secs(1)).await;
        let mut runs = rig.supervisor.send(Drain).await.unwrap();
        runs.wait_for(|runs| *runs == 0).await.unwrap();
        rig.cluster.change(|replica| replica.node_started(ME));
        sleep(Duration::from_secs(10)).await;
        assert_eq!((rig.log.starts(), rig.log.running.load(Ordering::SeqCst)), (10, 0));
    })
    .await;
}

/// A run that looks at its lease every second.
pub(super) fn under_its_lease(launch: Launch, _: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
    async move {
        while launch.lease.check().is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
        PartitionExit::LeaseLost
    }
    .boxed_local()
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_without_a_lease_and_what_lost_it_starts_at_once_when_it_is_valid_again() {
    on_virtual_time(async {
        let clock = crate::clock::of_runtime();
        let mut keeper = LeaseKeeper::new(clock.clone(), Duration::from_secs(1));
        let rig = Rig::start_with(Replica::with_partitions(3), under_its_lease, keeper.lease());
        sleep(Duration::from_secs(60)).await;
        assert_eq!((rig.log.starts(), rig.state()), (0, Some(RunState::Starting)));
        let why = || rig.board.partitions().values().next().unwrap().condition.why.clone().unwrap();
        assert!(why().contains("lease"));

        keeper.renew(clock.now().saturating_add(Duration::from_secs(10)));
        sleep(Duration::from_millis(10)).await;
        assert_eq!(rig.log.starts(), 3);
        // One of them is given to another node when it is certain that this one writes no more.
        sleep(Duration::from_secs(20)).await;
        assert_eq!((rig.log.running.load(Ordering::SeqCst), rig.state()), (0, Some(RunState::Blocked)));
        assert!(why().contains("lease"));
        rig.cluster.change(|replica| replica.assign(replica.partition(0), OTHER));
        sleep(Duration::from_secs(3_600)).await;
        assert_eq!((rig.log.starts(), rig.fault()), (3, None));

        keeper.renew(clock.now().saturating_add(Duration::from_secs(10)));
        sleep(Duration::from_millis(10)).await;
        assert_eq!((rig.log.starts(), rig.log.running.load(Ordering::SeqCst)), (5, 2), "the two that are still ours");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_an_error_in_the_log_once_and_a_rewind_a_warning() {
    fn gap(_: Launch, _: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
        async { PartitionExit::Fault(Fault::SourceGap { from: 3, to: 9 }) }.boxed_local()
    }
    fn rewound(launch: Launch, log: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
        if launch.agreed.partition.rewinds > 0 {
            return until_stopped(launch, log);
        }
        async { PartitionExit::TargetRewound { checkpoint: checkpoint(1, 3), lost: 2 } }.boxed_local()
    }
    let ends: [(Pipeline, &str, &str); 2] = [(gap, "ERROR", "code=CWY-0401"), (rewound, " WARN", "source_next=3")];
    for (pipeline, level, said) in ends {
        let lines = Lines::default();
        let guard = lines.listen();
        on_virtual_time(async {
            let mut replica = Replica::with_partitions(1);
            let progress = vec![Progress { partition: replica.partition(0), checkpoint: checkpoint(1, 5) }];
            replica.apply(Command::RecordProgress { node: ME, progress });
            let _rig = Rig::start(replica, pipeline);
            sleep(Duration::from_secs(60)).await;
        })
        .await;
        drop(guard);
        let [line] = lines.about(level).try_into().unwrap();
        for field in ["stream=orders", "partition=", "epoch=1", said] {
            assert!(line.contains(field), "{field}: {line}");
        }
    }
}
