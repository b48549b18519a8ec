//! The loop over an in-memory pair of ends: what it copies, and how each anomaly ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use causeway_core::checkpoint::{Checkpoint, LastCopy};
use causeway_core::fault::Fault;
use causeway_core::ids::{
    ClusterId, Epoch, Generation, Incarnation, InstanceIdentity, NodeId, RuleVersion, StreamId, Timestamp,
};
use causeway_core::name::Name;
use causeway_core::node::Predecessor;
use causeway_core::partition::{Partition, PartitionId, QueueId};
use causeway_core::provenance::{Provenance, StreamKey};
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};
use causeway_rocketmq::wire::sys_flag;
use tokio::sync::Mutex;

use super::budget::ReadAheadBudget;
use super::duplicates::append_again;
use super::exit::PartitionExit;
use super::in_flight_tests::earlier;
use super::memory::{MemoryQueue, Message, message};
use super::memory_sink::{MemorySink, Step};
use super::pipeline::{Run, run};
use super::progress::ProgressCell;
use super::settings::ReplicateSettings;
use super::stop::StopSignal;
use crate::lease::Lease;
use crate::status::{PartitionGauge, RunState};

/// A run of a new partition that begins at the oldest message.
pub(super) fn a_run() -> Run {
    let endpoint =
        |instance: &str, topic: &str| Endpoint { instance: Name::new(instance).unwrap(), topic: topic.into() };
    let queue = |broker: &str| QueueId { broker: broker.to_owned(), queue: 0 };
    let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
    Run {
        id: PartitionId { stream: StreamId(3), source: queue("broker-a") },
        stream: StreamKey { cluster: ClusterId(1), stream: StreamId(3), generation: Generation(0) },
        rule_version: RuleVersion(0),
        spec: Arc::new(StreamSpec {
            name: Name::new("orders").unwrap(),
            source: endpoint("qingdao", "orders"),
            target: endpoint("hohhot", "orders"),
            start: StartPosition::Earliest,
            tag_expression: "*".to_owned(),
            run: RunOptions::default(),
        }),
        partition: Partition {
            generation: Generation(0),
            target: queue("broker-b"),
            start: StartPosition::Earliest,
            source_incarnation: Incarnation(0),
            target_incarnation: Incarnation(0),
            epoch: Epoch(1),
            owner: Some(NodeId(1)),
            moving_to: None,
            predecessor: Predecessor::Nobody,
            checkpoint: None,
            fault: None,
            resolved: Vec::new(),
            rewinds: 0,
        },
        source_identity: InstanceIdentity(0xa),
        target_identity: InstanceIdentity(0xb),
        gauge,
        progress: Arc::new(ProgressCell::default()),
        buffers: Arc::default(),
        budget: Arc::new(ReadAheadBudget::new(1024 * 1024)),
        target_lock: Arc::new(Mutex::new(())),
        stop: StopSignal::default(),
        lease: Lease::unlimited().tenure().unwrap(),
        in_flight: earlier(),
        settings: Arc::new(ReplicateSettings::default()),
    }
}

/// Both ends and a run between them.
pub(super) struct Scene {
    pub(super) source: MemoryQueue,
    pub(super) sink: MemorySink,
    pub(super) run: Run,
}

impl Scene {
    pub(super) fn new(messages: u64) -> Self {
        let source = MemoryQueue::default();
        source.append_all((0..messages).map(message));
        Self { source, sink: MemorySink::default(), run: a_run() }
    }

    pub(super) fn starting(start: StartPosition, messages: u64) -> Self {
        let mut scene = Self::new(messages);
        scene.run.partition.start = start;
        scene
    }

    /// Runs until it ends by itself, or a while after everything stands still.
    pub(super) async fn play(&self) -> PartitionExit {
        self.play_for(100).await
    }

    /// Runs until it ends by itself, or so many seconds.
    pub(super) async fn play_for(&self, seconds: u64) -> PartitionExit {
        let commits = async {
            loop {
                if let Some(checkpoint) = self.run.progress.take_changed() {
                    self.run.progress.committed(&checkpoint);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let stops = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            self.run.stop.stop();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            exit = run(self.run.clone(), self.source.clone(), self.sink.clone()) => exit,
            () = commits => unreachable!(),
            () = stops => unreachable!(),
        }
    }

    /// Another life that goes on where this one is.
    pub(super) fn again(self) -> Self {
        let mut run = a_run();
        run.spec = self.run.spec.clone();
        run.settings = self.run.settings.clone();
        run.partition = Partition { epoch: self.run.partition.epoch.next(), ..self.run.partition };
        if let Some(newest) = self.run.progress.newest() {
            run.partition.checkpoint = Some(newest);
        }
        Self { run, ..self }
    }

    pub(super) fn copied(&self) -> Vec<Bytes> {
        let records = self.sink.queue.records();
        records.into_iter().filter(|copy| copy.property("CAUSEWAY").is_some()).map(|copy| copy.body).collect()
    }

    pub(super) fn bodies(&self, from: usize) -> Vec<Bytes> {
        self.source.records().into_iter().skip(from).map(|record| record.body).collect()
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.checkpoint_so_far().unwrap()
    }

    fn checkpoint_so_far(&self) -> Option<Checkpoint> {
        self.run.progress.newest()
    }
}

#[tokio::test(start_paused = true)]
async fn copies_everything_in_order_and_stops_when_asked() {
    let scene = Scene::new(500);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
    let checkpoint = scene.checkpoint();
    assert_eq!((checkpoint.source_next, checkpoint.target_next), (500, 500));
    assert_eq!(checkpoint.last_copy, Some(LastCopy { source_offset: 499, target_offset: 499 }));
    assert_eq!(checkpoint.fingerprint, Some(scene.source.record(499).fingerprint()));
    let figures = scene.run.gauge.figures();
    assert_eq!(figures.condition.state, RunState::Running);
    assert_eq!((figures.lag_messages(), figures.written_messages), (Some(0), 500));
    assert_eq!((figures.in_flight_bytes, scene.run.budget.held()), (0, 0));
    assert!(figures.caught_up_at.is_some());
    let sizes = scene.sink.sizes();
    assert!(sizes.len() < 500 / 64, "with a backlog, what was read ahead goes out together: {sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_what_its_source_is() {
    let scene = Scene::new(0);
    let original = Message {
        flag: 77,
        body: Bytes::from_static(b"compressed"),
        properties: Bytes::from_static(b"KEYS\x01k\x02UNIQ_KEY\x01u\x02color\x01red\x02DELAY\x013\x02"),
        sys_flag: sys_flag::COMPRESSED | 0x200 | sys_flag::TRANSACTION_COMMIT | sys_flag::MULTI_TAGS,
        born_timestamp: 4711,
        reconsume_times: 2,
    };
    scene.source.append_all([original.clone()]);
    scene.play().await;
    let copy = scene.sink.queue.record(0);
    assert_eq!((copy.flag, &copy.body, copy.born_timestamp, copy.reconsume_times), (77, &original.body, 4711, 2));
    assert_eq!(copy.sys_flag, sys_flag::COMPRESSED | 0x200);
    assert!(copy.properties.starts_with(b"KEYS\x01k\x02UNIQ_KEY\x01u\x02color\x01red\x02"));
    assert_eq!(copy.property("CAUSEWAY_ORIGINAL"), Some(&b"DELAY=3;"[..]));
    let provenance = Provenance::parse(copy.property("CAUSEWAY").unwrap()).unwrap();
    assert_eq!(
        (&*provenance.broker, &*provenance.topic, provenance.queue, provenance.offset),
        ("broker-a", "orders", 0, 0)
    );
    assert_eq!((provenance.epoch, provenance.chain), (Epoch(1), vec![InstanceIdentity(0xa)]));
}

#[tokio::test(start_paused = true)]
async fn begins_where_it_is_told() {
    let offsets = [
        (StartPosition::Earliest, 10),
        (StartPosition::Latest, 100),
        (StartPosition::Offset(40), 40),
        (StartPosition::Offset(999), 100),
        // Store timestamps begin at 5,001.
        (StartPosition::Timestamp(5_051), 50),
        (StartPosition::Timestamp(1), 10),
    ];
    for (start, expected) in offsets {
        let scene = Scene::starting(start, 100);
        scene.source.retain_from(10);
        assert_eq!(scene.play().await, PartitionExit::Stopped);
        assert_eq!(scene.copied(), scene.bodies(expected), "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_first_checkpoint_is_agreed_on() {
    let scene = Scene::new(10);
    let running = run(scene.run.clone(), scene.source.clone(), scene.sink.clone());
    assert!(tokio::time::timeout(Duration::from_secs(60), running).await.is_err());
    assert_eq!(scene.checkpoint().source_next, 0);
    assert!(scene.sink.queue.records().is_empty());
}

#[tokio::test(start_paused = true)]
async fn copies_that_stand_there_without_a_checkpoint_are_not_copied_again() {
    let mut scene = Scene::new(100);
    scene.play().await;
    scene = scene.again();
    scene.run.partition.checkpoint = None;
    scene.run.partition.start = StartPosition::Latest;
    scene.source.append_all((100..150).map(message));
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn anomalies_of_the_source_end_the_run_with_the_exact_range_and_everything_before_is_copied() {
    let gap = Scene::new(100);
    gap.source.hide(40..44);
    assert_eq!(gap.play().await, PartitionExit::Fault(Fault::SourceGap { from: 40, to: 44 }));
    assert_eq!(gap.copied(), &gap.bodies(0)[..40]);

    let gap_at_the_end = Scene::new(100);
    gap_at_the_end.source.hide(90..100);
    assert_eq!(gap_at_the_end.play().await, PartitionExit::Fault(Fault::SourceGap { from: 90, to: 100 }));

    let damaged = Scene::new(100);
    damaged.source.corrupt(70);
    let PartitionExit::Fault(Fault::DamagedRecord { offset: 70, .. }) = damaged.play().await else { panic!() };
    assert_eq!(damaged.copied(), &damaged.bodies(0)[..70]);

    let undecodable = Scene::new(100);
    undecodable.source.make_undecodable(33);
    let PartitionExit::Fault(Fault::DamagedRecord { offset: 33, .. }) = undecodable.play().await else { panic!() };
    assert_eq!(undecodable.copied(), &undecodable.bodies(0)[..33]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_changed_while_nobody_looked_is_never_followed() {
    let copied = || async {
        let scene = Scene::new(100);
        scene.play().await;
        scene.again()
    };
    let retention = copied().await;
    retention.source.append_all((100..200).map(message));
    retention.source.retain_from(130);
    assert_eq!(retention.play().await, PartitionExit::Fault(Fault::RetentionWon { from: 100, to: 130 }));

    let rolled_back = copied().await;
    rolled_back.source.truncate(60);
    assert_eq!(rolled_back.play().await, PartitionExit::Fault(Fault::SourceRolledBack { copied: 100, maximum: 60 }));

    let diverged = copied().await;
    diverged.source.truncate(60);
    diverged.source.append_all((500..600).map(message));
    assert_eq!(diverged.play().await, PartitionExit::Fault(Fault::SourceDiverged { offset: 99 }));
    assert_eq!(diverged.copied().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn outages_of_the_source_pass_or_end_the_run_after_the_patience() {
    let scene = Scene::new(100);
    scene.source.fail_reads(5);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));

    let scene = Scene::new(100);
    scene.source.fail_reads(u32::MAX);
    assert!(matches!(scene.play().await, PartitionExit::SourceLost { .. }));
    assert_eq!(scene.run.gauge.condition().state, RunState::Blocked);
}

#[tokio::test(start_paused = true)]
async fn a_slave_that_takes_over_is_checked_and_one_that_lags_is_waited_for() {
    let scene = Scene::new(100);
    let flips = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let reads = scene.source.reads();
        scene.source.serve_as_slave(true);
        scene.source.append_all((100..110).map(message));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(scene.source.reads() > reads);
        assert_eq!(scene.copied().len(), 110);
        scene.source.truncate(105);
    };
    let (exit, ()) = tokio::join!(scene.play(), flips);
    assert!(matches!(exit, PartitionExit::SourceLost { .. }), "{exit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lost_its_tail_behind_another_connection_is_noticed_though_no_read_failed() {
    let scene = Scene::new(100);
    let failover = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(scene.copied().len(), 100);
        scene.source.truncate(90);
        scene.source.append_all((500..560).map(message));
        scene.source.reconnect();
    };
    let (exit, ()) = tokio::join!(scene.play(), failover);
    assert_eq!(exit, PartitionExit::Fault(Fault::SourceDiverged { offset: 99 }));
    assert_eq!(scene.copied().len(), 100, "nothing of the other life was copied");
}

#[tokio::test(start_paused = true)]
async fn a_busy_target_spends_no_message() {
    let scene = Scene::new(50);
    scene.sink.play([Step::Busy, Step::Busy, Step::Busy]);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));

    let blocked = Scene::new(50);
    blocked.sink.play([Step::Busy; 500]);
    assert!(matches!(blocked.play().await, PartitionExit::SinkLost { .. }));
    assert_eq!(blocked.run.gauge.condition().state, RunState::Blocked);
    assert!(blocked.sink.queue.records().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_is_found_and_everything_before_it_is_copied() {
    let scene = Scene::new(100);
    scene.sink.refuse(scene.source.record(57).body);
    let PartitionExit::Fault(Fault::BadRecord { offset: 57, .. }) = scene.play().await else { panic!() };
    assert_eq!(scene.copied(), &scene.bodies(0)[..57]);
}

#[tokio::test(start_paused = true)]
async fn weak_acknowledgements_hold_the_checkpoint_back_until_a_full_one() {
    let scene = Scene::new(10);
    scene.sink.play([Step::Weak]);
    scene.play().await;
    assert_eq!(scene.copied().len(), 10);
    assert_eq!(scene.checkpoint().source_next, 0);
    assert_eq!(scene.run.gauge.figures().lag_messages(), Some(10));
    assert!(scene.run.gauge.condition().why.is_some());

    let scene = scene.again();
    scene.source.append_all((10..20).map(message));
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0), "the tail is read, so nothing is doubled");
    assert_eq!(scene.checkpoint().source_next, 20);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_lost_acknowledged_copies_gets_them_again() {
    let scene = Scene::new(100);
    scene.play().await;
    let mut scene = scene.again();
    scene.sink.lose_tail(30);
    let PartitionExit::TargetRewound { checkpoint, lost: 30 } = scene.play().await else { panic!() };
    assert_eq!((checkpoint.source_next, checkpoint.target_next), (70, 70));
    assert_eq!(checkpoint.last_copy, Some(LastCopy { source_offset: 69, target_offset: 69 }));
    scene = scene.again();
    scene.run.partition.checkpoint = Some(checkpoint);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_found_though_no_message_arrives() {
    let scene = Scene::new(100);
    let loss = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(scene.copied().len(), 100);
        scene.sink.lose_tail(30);
    };
    let (exit, ()) = tokio::join!(scene.play(), loss);
    let PartitionExit::TargetRewound { checkpoint, lost: 30 } = exit else { panic!("{exit:?}") };
    assert_eq!((checkpoint.source_next, checkpoint.target_next), (70, 70));
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_others_messages_cover_is_found_by_the_last_copy() {
    let scene = Scene::new(100);
    scene.play().await;
    let scene = scene.again();
    scene.sink.lose_tail(30);
    scene.sink.append_foreign(50);
    let PartitionExit::TargetRewound { checkpoint, lost: 30 } = scene.play().await else { panic!() };
    assert_eq!((checkpoint.source_next, checkpoint.target_next), (70, 120));
}

#[tokio::test(start_paused = true)]
async fn a_target_without_any_copy_left_or_without_its_tail_waits_for_a_decision() {
    let scene = Scene::new(100);
    scene.play().await;
    let lost = scene.again();
    lost.sink.queue.truncate(0);
    assert!(matches!(lost.play().await, PartitionExit::Fault(Fault::TargetLost { .. })));

    let scene = Scene::new(100);
    scene.play().await;
    let gone = scene.again();
    gone.sink.append_foreign(50);
    gone.sink.queue.retain_from(120);
    assert_eq!(gone.play().await, PartitionExit::Fault(Fault::TargetTailGone { from: 100, to: 120 }));
}

#[tokio::test(start_paused = true)]
async fn a_dead_owners_late_copies_are_counted_and_change_nothing() {
    let scene = Scene::new(100);
    let zombie = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let old: Vec<_> = scene.sink.queue.records().split_off(90);
        append_again(&scene.sink.queue, &old);
        scene.source.append_all((100..120).map(message));
    };
    let (exit, ()) = tokio::join!(scene.play(), zombie);
    assert_eq!(exit, PartitionExit::Stopped);
    assert_eq!(scene.run.gauge.zombie_writes.load(Ordering::Relaxed), 10);
    assert_eq!(scene.checkpoint().target_next, 130);
    let copied = scene.copied();
    assert_eq!((&copied[..100], &copied[110..]), (&scene.bodies(0)[..100], &scene.bodies(100)[..]));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_lands_below_what_was_acknowledged_hides_no_loss() {
    let scene = Scene::new(100);
    let loss = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        // The broker goes back without the connection being lost.
        scene.sink.queue.truncate(80);
        scene.source.append_all((100..110).map(message));
    };
    let (exit, ()) = tokio::join!(scene.play(), loss);
    let PartitionExit::TargetRewound { checkpoint, .. } = exit else { panic!("{exit:?}") };
    assert_eq!((checkpoint.source_next, checkpoint.target_next), (80, 90), "the stray batch is not taken for landed");
    assert_eq!(scene.run.gauge.zombie_writes.load(Ordering::Relaxed), 10, "it will stand there twice");
}

#[tokio::test(start_paused = true)]
async fn two_partitions_share_a_target_queue_one_batch_at_a_time() {
    let (one, mut two) = (Scene::new(300), Scene::new(300));
    two.sink = one.sink.clone();
    two.run.target_lock = Arc::clone(&one.run.target_lock);
    two.run.id.source.queue = 1;
    let (first, second) = tokio::join!(one.play(), two.play());
    assert_eq!((first, second), (PartitionExit::Stopped, PartitionExit::Stopped));
    assert!(!one.sink.overlapped());
    for (queue, scene) in [(0, &one), (1, &two)] {
        let records = one.sink.queue.records();
        let own =
            records.iter().filter(|copy| Provenance::parse(copy.property("CAUSEWAY").unwrap()).unwrap().queue == queue);
        assert_eq!(own.map(|copy| copy.body.clone()).collect::<Vec<_>>(), scene.bodies(0));
        assert_eq!(scene.run.gauge.zombie_writes.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rewind_is_told_only_when_the_progress_that_it_takes_back_is_agreed_on() {
    let scene = Scene::new(100);
    let agreed = async {
        while scene.checkpoint_so_far().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        scene.run.progress.committed(&scene.checkpoint());
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(scene.checkpoint().source_next, 100);
        scene.sink.lose_tail(30);
        tokio::time::sleep(Duration::from_secs(100)).await;
        scene.run.progress.committed(&scene.checkpoint());
        tokio::time::Instant::now()
    };
    let ended = async {
        let exit = run(scene.run.clone(), scene.source.clone(), scene.sink.clone()).await;
        (exit, tokio::time::Instant::now())
    };
    let (agreed_at, (exit, ended_at)) = tokio::join!(agreed, ended);
    assert!(matches!(exit, PartitionExit::TargetRewound { lost: 30, .. }), "{exit:?}");
    assert!(ended_at >= agreed_at);
}
