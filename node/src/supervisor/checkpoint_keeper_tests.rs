//! Progress of many partitions through a fake cluster, on virtual time.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::checkpoint::Checkpoint;
use causeway_core::command::Command;
use causeway_core::ids::Epoch;
use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::replicate::ProgressCell;
use crate::status::PartitionGauge;
use crate::supervisor::checkpoint_keeper::{Keeping, MAXIMUM_REPORTS, SHORTEST_INTERVAL, keep};
use crate::supervisor::fake_cluster::FakeCluster;
use crate::supervisor::progress_board::ProgressBoard;
use crate::supervisor::proposer::Proposer;
use crate::supervisor::testing::{ME, Replica, checkpoint};

struct Rig {
    cluster: FakeCluster,
    board: Arc<ProgressBoard>,
    cells: Vec<Arc<ProgressCell>>,
    gauges: Vec<Arc<PartitionGauge>>,
    stop: watch::Sender<bool>,
    keeper: JoinHandle<()>,
}

impl Rig {
    fn with_partitions(count: u32, interval: Duration) -> Self {
        let replica = Replica::with_partitions(count);
        let ids: Vec<_> = replica.state.partitions.keys().cloned().collect();
        let cluster = FakeCluster::new(replica);
        let board = Arc::new(ProgressBoard::default());
        let mut rig = (Vec::new(), Vec::new());
        for id in &ids {
            let gauge = Arc::new(PartitionGauge::new(Epoch(1), clock::now()));
            rig.0.push(board.watch(id, Arc::clone(&gauge)));
            rig.1.push(gauge);
        }
        let keeping = Keeping { me: ME, proposer: cluster.clone(), progress: Arc::clone(&board), interval };
        let (stop, stopping) = watch::channel(false);
        let keeper = tokio::spawn(keep(keeping, stopping));
        Self { cluster, board, cells: rig.0, gauges: rig.1, stop, keeper }
    }

    /// How far each partition is in the agreed state.
    fn agreed(&self) -> Vec<Option<i64>> {
        let view = self.cluster.view();
        view.partitions.values().map(|partition| partition.checkpoint.as_ref().map(|c| c.source_next)).collect()
    }

    async fn stopped(self) -> Vec<Option<i64>> {
        self.stop.send_replace(true);
        let agreed_by = self.cluster.clone();
        self.keeper.await.unwrap();
        let view = agreed_by.view();
        view.partitions.values().map(|partition| partition.checkpoint.as_ref().map(|c| c.source_next)).collect()
    }
}

/// Whether a run knows that this checkpoint is agreed on.
fn told(cell: &ProgressCell, checkpoint: &Checkpoint) -> bool {
    cell.wait_committed(checkpoint).now_or_never().is_some()
}

#[tokio::test(start_paused = true)]
async fn three_hundred_busy_partitions_cost_ten_proposals_a_second() {
    let rig = Rig::with_partitions(300, Duration::from_millis(100));
    for round in 1..=1_000 {
        for cell in &rig.cells {
            cell.store(checkpoint(1, round));
        }
        sleep(Duration::from_millis(5)).await;
    }
    let proposals = rig.cluster.proposals();
    assert!((40..=51).contains(&proposals.len()), "{} proposals in five seconds", proposals.len());
    assert!(proposals.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(100)));
    let all = |command: &Command| matches!(command, Command::RecordProgress { progress, .. } if progress.len() == 300);
    assert!(proposals.iter().all(|(_, command)| all(command)), "each carries every partition");
    assert_eq!(rig.stopped().await, vec![Some(1_000); 300], "the last progress is flushed");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_proposed_when_nothing_changed() {
    let rig = Rig::with_partitions(3, Duration::from_millis(100));
    sleep(Duration::from_secs(60)).await;
    rig.cells[1].store(checkpoint(1, 7));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.cluster.proposals().len(), 1);
    assert_eq!(rig.agreed(), [None, Some(7), None]);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_waits_for_is_proposed_at_once_and_a_run_is_told_only_what_was_agreed() {
    let rig = Rig::with_partitions(1, Duration::from_secs(10));
    sleep(Duration::from_secs(1)).await;
    rig.cells[0].store(checkpoint(1, 3));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.agreed(), [None], "nobody waits for it");
    for source_next in [4, 5] {
        let next = checkpoint(1, source_next);
        rig.cells[0].store(next.clone());
        timeout(SHORTEST_INTERVAL + Duration::from_millis(1), rig.cells[0].wait_committed(&next))
            .await
            .expect("agreed on without waiting for the interval");
        assert_eq!(rig.agreed(), [Some(source_next)]);
    }
    assert!(rig.gauges[0].figures().checkpoint_at.is_some());

    rig.cells[0].store(checkpoint(9, 6));
    sleep(Duration::from_secs(11)).await;
    assert_eq!(rig.agreed(), [Some(5)], "another epoch's progress is refused");
    assert!(!told(&rig.cells[0], &checkpoint(9, 6)), "and its run is not told otherwise");
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_reported_again_and_newer_progress_wins() {
    let rig = Rig::with_partitions(2, Duration::from_millis(100));
    rig.cluster.fail_next(3);
    rig.cells[0].store(checkpoint(1, 3));
    sleep(Duration::from_millis(110)).await;
    assert!(!told(&rig.cells[0], &checkpoint(1, 3)), "the outcome is unknown");
    rig.cells[0].store(checkpoint(1, 8));
    rig.cells[1].store(checkpoint(1, 5));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.agreed(), [Some(8), Some(5)]);
    assert!(told(&rig.cells[0], &checkpoint(1, 8)));
}

#[tokio::test(start_paused = true)]
async fn the_last_progress_of_a_run_that_ended_is_kept_until_it_is_agreed() {
    let rig = Rig::with_partitions(1, Duration::from_millis(100));
    let id = rig.cluster.view().partitions.keys().next().unwrap().clone();
    rig.cells[0].store(checkpoint(1, 6));
    rig.board.unwatch(&id);
    assert!(!rig.board.is_clean());
    sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.agreed(), [Some(6)]);
    assert!(rig.board.is_clean());
}

#[tokio::test(start_paused = true)]
async fn more_busy_partitions_than_one_proposal_carries_take_turns() {
    let partitions = u32::try_from(MAXIMUM_REPORTS * 5 / 2).unwrap();
    let rig = Rig::with_partitions(partitions, Duration::from_secs(1));
    for round in 1..=10 {
        for cell in &rig.cells {
            cell.store(checkpoint(1, round));
        }
        sleep(Duration::from_millis(200)).await;
    }
    let agreed = rig.agreed();
    assert!(agreed.iter().all(|source_next| *source_next >= Some(8)), "somebody's progress starves: {agreed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_on_after_a_failed_proposal_without_waiting_for_the_interval() {
    let rig = Rig::with_partitions(1, Duration::from_secs(60));
    rig.cluster.fail_next(1);
    let next = checkpoint(1, 4);
    rig.cells[0].store(next.clone());
    timeout(Duration::from_secs(2), rig.cells[0].wait_committed(&next)).await.expect("it is proposed again soon");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_reports_less_than_is_agreed_does_not_wait_for_ever() {
    let rig = Rig::with_partitions(1, Duration::from_millis(100));
    let id = rig.cluster.view().partitions.keys().next().unwrap().clone();
    rig.cells[0].store(checkpoint(1, 9));
    sleep(Duration::from_millis(200)).await;
    // It ends and is started again under the same epoch, from where it was before.
    rig.board.unwatch(&id);
    let again = rig.board.watch(&id, Arc::clone(&rig.gauges[0]));
    again.store(checkpoint(1, 7));
    timeout(Duration::from_secs(2), again.wait_committed(&checkpoint(1, 7))).await.expect("more than that is agreed");
    assert_eq!(rig.agreed(), [Some(9)]);
}
