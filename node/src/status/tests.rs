//! Boards, gauges and what they show.

use causeway_core::command::{CURRENT_VERSION, Command, Envelope};
use causeway_core::name::Name;
use causeway_core::node::{NodeSpec, ProcessId};
use causeway_core::partition::QueueId;
use tokio::time::{Instant, advance};

use super::*;

fn partition(queue: u32) -> PartitionId {
    PartitionId { stream: StreamId(1), source: QueueId { broker: "a".to_owned(), queue } }
}

#[test]
fn an_overview_shows_all_nodes_and_of_a_partition_that_moves_its_later_ownership() {
    let own = Arc::new(StatusBoard::default());
    let overview = own.overview();
    own.partition(&partition(0), Epoch(1), Timestamp(1));
    own.partition(&partition(1), Epoch(4), Timestamp(1));
    let other = StatusBoard::default();
    for (queue, epoch) in [(1, 3), (2, 7)] {
        other.partition(&partition(queue), Epoch(epoch), Timestamp(1));
    }
    // As it travels.
    let wire = serde_json::to_vec(&other.partitions().into_iter().collect::<Vec<_>>()).unwrap();
    let told: Vec<(PartitionId, PartitionFigures)> = serde_json::from_slice(&wire).unwrap();
    overview.heard(NodeId(2), told.into_iter().collect());
    let epochs = || overview.partitions().into_values().map(|figures| figures.epoch.0).collect::<Vec<_>>();
    assert_eq!(epochs(), [1, 4, 7]);
    assert_eq!(own.partitions().len(), 2);
    let silence = Silence { since: Timestamp(9), at: Instant::now() };
    overview.unheard(NodeId(2), silence);
    assert_eq!((epochs(), overview.silence(NodeId(2))), (vec![1, 4], Some(silence)));
    overview.forget(NodeId(2));
    assert_eq!(overview.silence(NodeId(2)), None);
    own.set_stream(StreamId(1), Some(PartitionGauge::new(Epoch(1), Timestamp(1)).condition()));
    assert!(overview.stream(StreamId(1)).is_some());
}

/// A partition at the end of its source queue.
fn caught_up(board: &StatusBoard) -> Arc<PartitionGauge> {
    let gauge = board.partition(&partition(0), Epoch(1), Timestamp(1));
    gauge.set_runs(true);
    gauge.set_condition(RunState::Running, None, None, Timestamp(1));
    gauge.set_source(10, 10);
    gauge.set_durable(10, Some(1));
    gauge.set_caught_up(Timestamp(1));
    gauge
}

#[tokio::test(start_paused = true)]
async fn a_source_that_says_nothing_is_not_known_to_hold_nothing() {
    let board = StatusBoard::default();
    let gauge = caught_up(&board);
    let (wait, lag) = (Duration::from_secs(15), || gauge.figures().lag_messages());
    gauge.source_asked(wait);
    advance(wait + ON_ITS_WAY).await;
    assert_eq!(lag(), Some(0), "it may wait for a message as long as it was asked to");
    advance(Duration::from_millis(1)).await;
    assert_eq!((lag(), gauge.figures().caught_up_at), (None, Some(Timestamp(1))));
    gauge.source_answered();
    assert_eq!(lag(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn where_a_relay_tells_nothing_nothing_is_known_of_the_source_until_something_comes_from_it() {
    let own = Arc::new(StatusBoard::default());
    let overview = own.overview();
    let gauge = caught_up(&own);
    gauge.set_read_path(ReadPath::Relay(NodeId(3)));
    gauge.source_answered();
    advance(Duration::from_secs(3)).await;
    let seen = |board: &StatusBoard| {
        let figures = board.partitions().remove(&partition(0)).unwrap();
        (figures.condition.state, figures.condition.since.0, figures.lag_messages())
    };
    let silence = || Silence { since: Timestamp(7), at: Instant::now() };
    overview.unheard(NodeId(4), silence());
    assert_eq!(seen(&own), (RunState::Running, 1, Some(0)), "another node");
    overview.unheard(NodeId(3), silence());
    for board in [&*own, &overview] {
        assert_eq!(seen(board), (RunState::Blocked, 7, None));
    }
    let why = || own.partitions().remove(&partition(0)).unwrap().condition.why.unwrap();
    assert_eq!(why(), "node 3, which reads its source for it, does not answer");
    let mut view = crate::admin::tests::two_streams();
    let spec =
        NodeSpec { name: Name::new("relay-3").unwrap(), region: Name::new("r").unwrap(), address: None, supports: 3 };
    let start = Command::StartNode { node: NodeId(3), spec, process: ProcessId(1) };
    view.apply(1_000, &Envelope { version: CURRENT_VERSION, request: 0, at: Timestamp(0), command: start });
    own.look_at_owners(&view, Timestamp(7));
    assert_eq!(why(), "relay-3, which reads its source for it, does not answer");
    gauge.set_condition(RunState::Starting, None, None, Timestamp(8));
    assert_eq!(seen(&own), (RunState::Starting, 8, None), "nothing was claimed");
    gauge.set_condition(RunState::Running, None, None, Timestamp(9));
    advance(Duration::from_millis(1)).await;
    gauge.source_answered();
    assert_eq!(seen(&own), (RunState::Running, 9, Some(0)), "it gives something on");
}
