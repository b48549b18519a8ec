//! Totals never go back, rates are means, the history is bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use causeway_core::command::{Command, Envelope, NewPartition};
use causeway_core::ids::{Epoch, InstanceIdentity, NodeId};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::partition::QueueId;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};
use proptest::prelude::*;

use super::*;
use crate::status::Silence;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) fn apply(state: &mut State, index: u64, command: Command) {
    let envelope = Envelope { version: 1, request: 0, at: Timestamp(0), command };
    state.apply(index, &envelope);
}

/// One stream `orders`, which gets the identifier 3.
pub(crate) fn view() -> State {
    let mut state = State::default();
    for (index, instance) in [(1, "qingdao"), (2, "hohhot")] {
        let spec = InstanceSpec {
            name: name(instance),
            region: name(instance),
            name_servers: vec!["127.0.0.1:9876".to_owned()],
            credentials: None,
            tls: None,
        };
        apply(&mut state, index, Command::PutInstance { spec, identity: InstanceIdentity(index), expected: None });
    }
    let end = |instance: &str| Endpoint { instance: name(instance), topic: "orders".to_owned() };
    let spec = StreamSpec {
        name: name("orders"),
        source: end("qingdao"),
        target: end("hohhot"),
        start: StartPosition::Earliest,
        tag_expression: "*".to_owned(),
        run: RunOptions::default(),
    };
    apply(&mut state, 3, Command::CreateStream { spec });
    state
}

const STREAM: StreamId = StreamId(3);

fn partition(queue: u32) -> PartitionId {
    PartitionId { stream: STREAM, source: QueueId { broker: "broker-a".to_owned(), queue } }
}

#[test]
fn totals_survive_a_partition_that_begins_again() {
    let (view, board, history) = (view(), StatusBoard::default(), RateHistory::new());
    let write = |count: u64| {
        let gauge = board.partition(&partition(0), Epoch(1), Timestamp(0));
        gauge.written_messages.fetch_add(count, Ordering::Relaxed);
    };
    write(70);
    history.sample(&view, &board, Timestamp(1_000));
    board.remove(&partition(0));
    write(5);
    history.sample(&view, &board, Timestamp(2_000));
    board.remove(&partition(0));
    history.sample(&view, &board, Timestamp(3_000));
    write(1);
    history.sample(&view, &board, Timestamp(4_000));
    assert_eq!(history.totals(STREAM).expect("known").written_messages, 76);
}

#[test]
fn an_owner_that_is_heard_again_is_not_counted_twice_and_another_owner_is_counted_whole() {
    let view = crate::admin::tests::two_streams();
    let id = view.partitions.keys().next().unwrap().clone();
    let (own, history) = (std::sync::Arc::new(StatusBoard::default()), RateHistory::new());
    let overview = own.overview();
    let told = |began: i64, written: u64| {
        let gauge = crate::status::PartitionGauge::new(view.partitions[&id].epoch, Timestamp(began));
        gauge.written_messages.store(written, Ordering::Relaxed);
        [(id.clone(), gauge.figures())].into()
    };
    let mut now = 0;
    let mut total = || {
        now += 1_000;
        history.sample(&view, &overview, Timestamp(now));
        history.totals(id.stream).expect("known").written_messages
    };
    let silence = crate::status::Silence { since: Timestamp(1), at: tokio::time::Instant::now() };
    let (two, three) = (causeway_core::ids::NodeId(2), causeway_core::ids::NodeId(3));
    overview.heard(two, told(5, 100));
    assert_eq!(total(), 100);
    overview.unheard(two, silence);
    assert_eq!(total(), 100);
    overview.heard(two, told(5, 130));
    assert_eq!(total(), 130);
    overview.unheard(two, silence);
    overview.heard(three, told(9, 200));
    assert_eq!(total(), 330, "its counter began anew, though it is higher");
}

#[test]
fn nothing_is_said_of_a_stream_while_one_of_its_owners_is_not_heard_and_no_false_rate_after_it() {
    let (mut view, own, history) = (view(), Arc::new(StatusBoard::default()), RateHistory::new());
    let queue = |queue| partition(queue).source;
    let partitions = (0..2).map(|number| NewPartition { source: queue(number), target: queue(number) }).collect();
    apply(&mut view, 4, Command::AddPartitions { stream: STREAM, partitions });
    let (overview, other) = (own.overview(), StatusBoard::default());
    let gauges = [(&*own, 0), (&other, 1)].map(|(board, number)| {
        let gauge = board.partition(&partition(number), Epoch(1), Timestamp(0));
        gauge.set_source(100, 100);
        gauge.set_durable(90, Some(0));
        gauge
    });
    let mut rates = Vec::new();
    for second in 0..70_i64 {
        for gauge in &gauges {
            gauge.written_messages.fetch_add(10, Ordering::Relaxed);
        }
        if (30..50).contains(&second) {
            let now = tokio::time::Instant::now();
            overview.unheard(NodeId(2), Silence { since: Timestamp(30_000), at: now });
        } else {
            overview.heard(NodeId(2), other.partitions());
        }
        history.sample(&view, &overview, Timestamp(second * 1_000));
        rates.push(history.rates(STREAM).map(|rates| rates.written_messages.round()));
    }
    assert_eq!([29, 35, 49, 55].map(|second| rates[second]), [Some(20.0), None, None, Some(20.0)]);
    assert!(rates.iter().flatten().all(|rate| *rate <= 20.0), "{rates:?}");
    for point in history.snapshot(STREAM) {
        let is_silent = (30_000..50_000).contains(&point.at.0);
        assert_eq!((point.rates.is_none(), point.lag_messages), (is_silent, (!is_silent).then_some(20)), "{point:?}");
    }
    assert!(history.snapshot(STREAM).iter().any(|point| point.rates.is_none()));
}

#[test]
fn a_rate_is_the_mean_of_the_last_seconds() {
    let (view, board, history) = (view(), StatusBoard::default(), RateHistory::new());
    let gauge = board.partition(&partition(0), Epoch(1), Timestamp(0));
    assert_eq!(history.rates(STREAM), None);
    for second in 1..=20 {
        gauge.written_messages.fetch_add(100, Ordering::Relaxed);
        history.sample(&view, &board, Timestamp(second * 1_000));
    }
    assert_eq!(history.rates(STREAM).expect("known").written_messages, 100.0);
    assert_eq!(history.partition_rates(&partition(0)).expect("known").written_messages, 100.0);
    let points = history.snapshot(STREAM);
    assert_eq!(points.len(), 1);
    assert_eq!(points[0].rates.expect("known").written_messages, 100.0);
    assert_eq!(points[0].lag_messages, None);
}

#[test]
fn an_hour_is_kept_and_no_more_and_nothing_of_a_deleted_stream() {
    let (mut view, board, history) = (view(), StatusBoard::default(), RateHistory::new());
    board.partition(&partition(0), Epoch(1), Timestamp(0)).set_source(10, 30);
    for second in 0..5_000 {
        history.sample(&view, &board, Timestamp(second * 1_000));
    }
    assert_eq!(history.snapshot(STREAM).len(), MAXIMUM_POINTS);
    apply(&mut view, 4, Command::DeleteStream { name: name("orders") });
    history.sample(&view, &board, Timestamp(5_001_000));
    assert_eq!(history.totals(STREAM), None);
    assert!(history.snapshot(STREAM).is_empty());
}

#[test]
fn a_clock_that_jumps_costs_a_gap_and_no_false_rate() {
    let (view, board, history) = (view(), StatusBoard::default(), RateHistory::new());
    let gauge = board.partition(&partition(0), Epoch(1), Timestamp(0));
    for at in [100_000, 101_000, 50_000, 51_000, 900_000] {
        gauge.written_messages.fetch_add(10, Ordering::Relaxed);
        history.sample(&view, &board, Timestamp(at));
    }
    assert!(history.rates(STREAM).expect("known").written_messages <= 10.0);
    assert!(history.snapshot(STREAM).iter().all(|point| point.rates.is_none()));
}

proptest! {
    #[test]
    fn totals_never_go_back(steps in proptest::collection::vec((0_u32..3, 0_u64..50, any::<bool>()), 1..60)) {
        let (view, board, history) = (view(), StatusBoard::default(), RateHistory::new());
        let (mut last, mut written) = (0, 0);
        for (second, (queue, count, forget)) in steps.into_iter().enumerate() {
            let gauge = board.partition(&partition(queue), Epoch(1), Timestamp(0));
            gauge.written_messages.fetch_add(count, Ordering::Relaxed);
            written += count;
            history.sample(&view, &board, Timestamp(i64::try_from(second).expect("small") * 1_000));
            let total = history.totals(STREAM).expect("known").written_messages;
            // A partition that is forgotten and found again between two samples may hide some of what it wrote.
            prop_assert!((last..=written).contains(&total), "{} {} {}", last, total, written);
            last = total;
            if forget {
                board.remove(&partition(queue));
            }
        }
    }

    #[test]
    fn approximation_is_exact_where_it_can_be(count in 0_u64..(1 << 53)) {
        prop_assert_eq!(format!("{:.0}", approximate(count)), count.to_string());
    }
}
