//! Planned moves, as their owner carries them out: what is proposed, what the next owner may rely on, and that nothing
//! runs meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_core::command::{Command, Progress};
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_core::ids::{Epoch, NodeId};
use causeway_core::node::Predecessor;
use causeway_core::outcome::Outcome;
use causeway_core::partition::Partition;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::lease::LeaseKeeper;
use crate::replicate::{OnItsWay, PartitionExit};
use crate::status::RunState;
use crate::supervisor::checkpoint_keeper::{Keeping, keep};
use crate::supervisor::fake_cluster::FakeCluster;
use crate::supervisor::launch::Launch;
use crate::supervisor::partition_supervisor_tests::{
    Log, Pipeline, Rig, on_virtual_time, slow_to_stop, under_its_lease, until_stopped,
};
use crate::supervisor::proposer::Proposer;
use crate::supervisor::testing::{ME, OTHER, Replica, checkpoint};

/// What was agreed about the only partition.
fn agreed(cluster: &FakeCluster) -> Partition {
    cluster.view().partitions.values().next().unwrap().clone()
}

/// Another node is asked for, or this one again.
fn wish(rig: &Rig, to: NodeId) {
    rig.cluster.change(|replica| replica.wish(replica.partition(0), to));
}

fn releases(rig: &Rig) -> Vec<(Instant, Command)> {
    let proposals = rig.cluster.proposals().into_iter();
    proposals.filter(|(_, command)| matches!(command, Command::Release { .. })).collect()
}

fn epochs(rig: &Rig) -> Vec<u64> {
    rig.log.starts.lock().unwrap().iter().map(|(_, epoch)| epoch.0).collect()
}

fn runs(rig: &Rig) -> usize {
    rig.log.running.load(Ordering::SeqCst)
}

/// Copies three messages, and whatever was sent is answered before it ends.
fn copies(launch: Launch, log: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
    launch.in_flight.waited_out();
    launch.progress.store(checkpoint(launch.agreed.partition.epoch.0, 3));
    until_stopped(launch, log)
}

/// The same, but the answer to its last send does not come.
fn unanswered(launch: Launch, log: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
    let in_flight = Arc::clone(&launch.in_flight);
    let copying = copies(launch, log);
    in_flight.begin();
    copying
}

fn lost(_: Launch, _: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
    async { PartitionExit::SinkLost { code: ErrorCode::Unreachable, why: "no route".into() } }.boxed_local()
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_copies_is_the_other_nodes_within_two_seconds_with_all_its_progress() {
    let cases: [(Pipeline, bool); 2] = [(copies, true), (unanswered, false)];
    for (pipeline, is_settled) in cases {
        on_virtual_time(async {
            let rig = Rig::start(Replica::with_partitions(1), pipeline);
            sleep(Duration::from_secs(10)).await;
            let mut view = rig.cluster.watch();
            let asked = Instant::now();
            wish(&rig, OTHER);
            let moved = view.wait_for(|view| view.partitions.values().all(|known| known.owner == Some(OTHER)));
            let state = moved.await.unwrap().clone();
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
            let partition = state.partitions.values().next().unwrap();
            let predecessor = if is_settled { Predecessor::Released(ME) } else { Predecessor::Ended(ME) };
            assert_eq!((partition.epoch, partition.predecessor), (Epoch(2), predecessor));
            assert_eq!(partition.checkpoint, Some(checkpoint(1, 3)));
            sleep(Duration::from_secs(60)).await;
            assert_eq!((releases(&rig).len(), epochs(&rig), runs(&rig)), (1, vec![1], 0));
            assert!(rig.board.partitions().is_empty() && rig.progress.is_clean());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_does_not_run_moves_too() {
    type Prepare = fn(&mut Replica);
    let fault: Prepare = |replica| {
        let partition = replica.partition(0);
        let progress = vec![Progress { partition: partition.clone(), checkpoint: checkpoint(1, 2) }];
        replica.apply(Command::RecordProgress { node: ME, progress });
        replica.apply(Command::RaiseFault { partition, epoch: Epoch(1), fault: Fault::SourceGap { from: 2, to: 4 } });
    };
    let asked_before_it_ran: Prepare = |replica| replica.wish(replica.partition(0), OTHER);
    // What is done before the supervisor begins, its pipeline, and what the next owner may rely on.
    let cases: [(&str, Prepare, Pipeline, Predecessor); 6] = [
        ("paused", Replica::pause, copies, Predecessor::Released(ME)),
        ("faulted", fault, copies, Predecessor::Released(ME)),
        ("it never ran", asked_before_it_ran, copies, Predecessor::Released(ME)),
        ("it never ran since its process started", |replica| replica.node_started(ME), lost, Predecessor::Ended(ME)),
        ("it rests", |_| {}, lost, Predecessor::Released(ME)),
        ("it rests, and what was sent is not answered", |_| {}, fails_in_a_send, Predecessor::Ended(ME)),
    ];
    for (what, prepare, pipeline, predecessor) in cases {
        on_virtual_time(async {
            let mut replica = Replica::with_partitions(1);
            prepare(&mut replica);
            let rig = Rig::start(replica, pipeline);
            sleep(Duration::from_secs(100)).await;
            if agreed(&rig.cluster).owner == Some(ME) {
                let starts = rig.log.starts();
                wish(&rig, OTHER);
                sleep(Duration::from_secs(1)).await;
                assert_eq!(rig.log.starts(), starts, "{what}");
            }
            let partition = agreed(&rig.cluster);
            assert_eq!((partition.owner, partition.predecessor), (Some(OTHER), predecessor), "{what}");
            assert_eq!(releases(&rig).len(), 1, "{what}");
        })
        .await;
    }
}

fn fails_in_a_send(launch: Launch, log: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
    launch.in_flight.begin();
    lost(launch, log)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_let_go_of_before_the_last_send_has_ended_and_a_wish_that_was_taken_back_has_no_trace() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), slow_to_stop);
        sleep(Duration::from_secs(1)).await;
        wish(&rig, OTHER);
        sleep(Duration::from_secs(5)).await;
        assert_eq!((releases(&rig).len(), runs(&rig)), (0, 1));
        wish(&rig, ME);
        sleep(Duration::from_secs(6)).await;
        assert_eq!((releases(&rig).len(), epochs(&rig)), (0, vec![1, 1]), "it was asked to end, and starts again");
        wish(&rig, OTHER);
        sleep(Duration::from_secs(9)).await;
        assert!(releases(&rig).is_empty());
        sleep(Duration::from_secs(2)).await;
        assert_eq!((releases(&rig).len(), agreed(&rig.cluster).owner), (1, Some(OTHER)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_release_is_proposed_again_until_the_view_shows_it() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), copies);
        sleep(Duration::from_secs(1)).await;
        rig.cluster.lose_next(30);
        wish(&rig, OTHER);
        sleep(Duration::from_secs(20)).await;
        let why = rig.board.partitions().values().next().unwrap().condition.why.clone();
        assert_eq!((rig.state(), why.as_deref()), (Some(RunState::Starting), Some("it moves to node node")));
        assert_eq!((runs(&rig), agreed(&rig.cluster).owner), (0, Some(ME)));
        sleep(Duration::from_secs(20)).await;
        let releases_until = releases(&rig);
        assert!(releases_until.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_secs(1)));
        assert_eq!((releases_until.len(), agreed(&rig.cluster).owner), (31, Some(OTHER)));
        assert_eq!(agreed(&rig.cluster).checkpoint, Some(checkpoint(1, 3)));
        assert_eq!(epochs(&rig), [1]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_answer_is_lost_is_over() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), copies);
        sleep(Duration::from_secs(1)).await;
        rig.cluster.fail_next(1);
        wish(&rig, OTHER);
        sleep(Duration::from_secs(60)).await;
        assert_eq!((releases(&rig).len(), epochs(&rig), runs(&rig)), (1, vec![1], 0));
        // It comes back, and that is another ownership.
        rig.cluster.change(|replica| replica.assign(replica.partition(0), ME));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(epochs(&rig), [1, 3]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_was_refused_because_nobody_wants_it_any_more_leaves_the_ownership_as_it_was() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), copies);
        sleep(Duration::from_secs(1)).await;
        rig.cluster.slow_down(Duration::from_secs(3));
        wish(&rig, OTHER);
        sleep(Duration::from_secs(1)).await;
        wish(&rig, ME);
        sleep(Duration::from_secs(1)).await;
        assert_eq!((runs(&rig), releases(&rig).len()), (0, 0), "the proposal is under way");
        sleep(Duration::from_secs(2)).await;
        assert_eq!((epochs(&rig), runs(&rig), releases(&rig).len()), (vec![1, 1], 1, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_arrives_after_the_wish_was_taken_back_gives_nothing_away() {
    fn settled_later(launch: Launch, log: Arc<Log>) -> LocalBoxFuture<'static, PartitionExit> {
        assert_eq!(launch.in_flight.now(), OnItsWay::Nothing, "it is known what this process sent");
        until_stopped(launch, log)
    }
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), settled_later);
        sleep(Duration::from_secs(1)).await;
        rig.cluster.delay_next();
        wish(&rig, OTHER);
        sleep(Duration::from_millis(500)).await;
        assert_eq!((releases(&rig).len(), runs(&rig)), (1, 0));
        wish(&rig, ME);
        sleep(Duration::from_secs(5)).await;
        assert_eq!((epochs(&rig), agreed(&rig.cluster).owner), (vec![1, 2], Some(ME)));
        // Somebody wants it elsewhere again, and the old proposal arrives while it still runs.
        rig.cluster.change(|replica| replica.wish(replica.partition(0), OTHER));
        assert!(matches!(rig.cluster.deliver()[..], [Outcome::Refused(_)]));
        assert_eq!((agreed(&rig.cluster).owner, runs(&rig)), (Some(ME), 1));
        sleep(Duration::from_secs(1)).await;
        let partition = agreed(&rig.cluster);
        assert_eq!((partition.owner, partition.predecessor), (Some(OTHER), Predecessor::Released(ME)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_meanwhile_keeps_a_partition_until_it_is_valid_again() {
    // Before the lease ends, and after that.
    for wished in [5, 20] {
        on_virtual_time(async {
            let clock = crate::clock::of_runtime();
            let mut keeper = LeaseKeeper::new(clock.clone(), Duration::from_secs(1));
            keeper.renew(clock.now().saturating_add(Duration::from_secs(10)));
            // Its pipeline ends with the lease and not when it is asked to.
            let rig = Rig::start_with(Replica::with_partitions(1), under_its_lease, keeper.lease());
            sleep(Duration::from_secs(wished)).await;
            wish(&rig, OTHER);
            sleep(Duration::from_secs(60)).await;
            assert_eq!((releases(&rig).len(), runs(&rig), epochs(&rig)), (0, 0, vec![1]));
            keeper.renew(clock.now().saturating_add(Duration::from_secs(10)));
            sleep(Duration::from_millis(10)).await;
            let partition = agreed(&rig.cluster);
            assert_eq!((partition.owner, partition.predecessor), (Some(OTHER), Predecessor::Released(ME)));
            assert_eq!((releases(&rig).len(), epochs(&rig)), (1, vec![1]));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_lets_go_of_nothing_before_its_start_is_agreed_on() {
    on_virtual_time(async {
        let clock = crate::clock::of_runtime();
        let mut keeper = LeaseKeeper::new(clock.clone(), Duration::from_secs(1));
        // What an earlier process of this node sent under the first epoch may be on its way.
        let rig = Rig::start_with(Replica::with_partitions(1), copies, keeper.lease());
        wish(&rig, OTHER);
        sleep(Duration::from_secs(60)).await;
        assert!(releases(&rig).is_empty());
        rig.cluster.change(|replica| replica.node_started(ME));
        sleep(Duration::from_secs(1)).await;
        keeper.renew(clock.now().saturating_add(Duration::from_secs(10)));
        sleep(Duration::from_millis(10)).await;
        let partition = agreed(&rig.cluster);
        assert_eq!((partition.owner, partition.epoch), (Some(OTHER), Epoch(3)));
        assert_eq!(partition.predecessor, Predecessor::Ended(ME));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_progress_is_agreed_on_once_and_never_goes_back_whichever_way_it_takes() {
    // How many proposals are lost first, whoever makes them, and whether the first arrives late.
    let fates = [(0, false), (1, false), (2, false), (5, false), (0, true)];
    for ((losses, late), wished_after) in fates.into_iter().flat_map(|fate| [(fate, 20), (fate, 60), (fate, 200)]) {
        on_virtual_time(async {
            let mut replica = Replica::with_partitions(1);
            let progress = vec![Progress { partition: replica.partition(0), checkpoint: checkpoint(1, 2) }];
            replica.apply(Command::RecordProgress { node: ME, progress });
            let rig = Rig::start(replica, copies);
            let keeping = Keeping {
                me: ME,
                proposer: rig.cluster.clone(),
                progress: Arc::clone(&rig.progress),
                interval: Duration::from_millis(100),
            };
            let (stop, stopping) = watch::channel(false);
            // It runs before the keeper looks for the first time.
            sleep(Duration::from_millis(10)).await;
            if late {
                rig.cluster.delay_next();
            } else {
                rig.cluster.lose_next(losses);
            }
            let kept = tokio::spawn(keep(keeping, stopping));
            sleep(Duration::from_millis(wished_after)).await;
            wish(&rig, OTHER);
            sleep(Duration::from_secs(60)).await;
            rig.cluster.deliver();
            let partition = agreed(&rig.cluster);
            assert_eq!((partition.owner, partition.epoch), (Some(OTHER), Epoch(2)));
            assert_eq!(partition.checkpoint, Some(checkpoint(1, 3)));
            assert!(rig.progress.is_clean(), "nothing of an ownership that is over is reported for ever");
            let calm = rig.cluster.proposals().len();
            sleep(Duration::from_secs(60)).await;
            assert_eq!(rig.cluster.proposals().len(), calm);
            stop.send_replace(true);
            kept.await.unwrap();
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn progress_that_is_behind_what_is_agreed_does_not_hold_a_move_up() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), copies);
        sleep(Duration::from_secs(1)).await;
        // More was agreed on than this run of the same ownership has come to.
        rig.cluster.change(|replica| {
            let progress = vec![Progress { partition: replica.partition(0), checkpoint: checkpoint(1, 9) }];
            replica.apply(Command::RecordProgress { node: ME, progress })
        });
        wish(&rig, OTHER);
        sleep(Duration::from_secs(3)).await;
        let partition = agreed(&rig.cluster);
        assert_eq!((partition.owner, partition.checkpoint), (Some(OTHER), Some(checkpoint(1, 9))));
        assert!(rig.progress.is_clean());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn progress_that_is_being_reported_goes_with_the_partition_and_the_report_is_too_late() {
    on_virtual_time(async {
        let rig = Rig::start(Replica::with_partitions(1), copies);
        sleep(Duration::from_secs(1)).await;
        let reported = rig.progress.collect(10);
        assert_eq!(reported.len(), 1);
        wish(&rig, OTHER);
        sleep(Duration::from_secs(1)).await;
        let partition = agreed(&rig.cluster);
        assert_eq!((partition.owner, partition.checkpoint), (Some(OTHER), Some(checkpoint(1, 3))));
        let late = Command::RecordProgress { node: ME, progress: reported };
        assert_eq!(rig.cluster.change(|replica| replica.apply(late)), Outcome::Recorded { refused: 1 });
        rig.progress.settle(&rig.cluster.view(), crate::clock::now());
        assert!(rig.progress.is_clean());
    })
    .await;
}
