//! The tables of the module, row by row.

use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_core::ids::{Epoch, NodeId, Timestamp};
use causeway_core::partition::RaisedFault;
use causeway_core::stream::DesiredState;

use super::{Measured, Ownership, partition_condition, rpo_seconds, severity, stream_condition, survey};
use crate::admin::tests::{orders, partition};
use crate::status::{Condition, PartitionFigures, PartitionGauge, RunState, StatusBoard};

fn condition(state: RunState, since: i64, why: Option<&str>) -> Condition {
    let code = why.map(|_| ErrorCode::Unreachable);
    Condition { state, since: Timestamp(since), why: why.map(str::to_owned), code }
}

#[test]
fn severity_orders_every_state() {
    use RunState::{Blocked, CatchingUp, Deleting, Faulted, Paused, Pausing, Ready, Running, Starting};
    let order = [Running, CatchingUp, Paused, Pausing, Ready, Starting, Blocked, Faulted, Deleting];
    assert!(order.windows(2).all(|pair| severity(pair[0]) < severity(pair[1])));
}

#[test]
fn a_partition_shows_fault_then_pause_then_ownership_then_gauge() {
    let (mut stream, mut agreed) = (orders(), partition());
    let running = condition(RunState::Running, 5, None);
    let measured = |runs| Some(Measured { epoch: agreed.epoch, condition: &running, runs });
    let (runs, rests) = (measured(true), measured(false));
    let partition_condition =
        |stream: &_, agreed: &_, measured| partition_condition(stream, agreed, measured, &Ownership::default());
    agreed.owner = None;
    assert_eq!(partition_condition(&stream, &agreed, runs).state, RunState::Ready);
    agreed.owner = Some(NodeId(1));
    assert_eq!(partition_condition(&stream, &agreed, runs), running);
    assert_eq!(partition_condition(&stream, &agreed, None).state, RunState::Starting);
    stream.desired = DesiredState::Paused;
    assert_eq!(partition_condition(&stream, &agreed, runs).state, RunState::Pausing);
    assert_eq!(partition_condition(&stream, &agreed, rests).state, RunState::Paused);
    let (pausing, paused) = (condition(RunState::Pausing, 5, None), condition(RunState::Paused, 5, None));
    let shown = stream_condition(&stream, None, &[&paused, &pausing]);
    assert_eq!((shown.state, shown.why.as_deref()), (RunState::Pausing, Some("sends of 1 partition are under way")));
    let fault = Fault::SourceGap { from: 3, to: 9 };
    agreed.fault = Some(RaisedFault { fault: fault.clone(), since: Timestamp(44) });
    let shown = partition_condition(&stream, &agreed, runs);
    assert_eq!((shown.state, shown.since, shown.code), (RunState::Faulted, Timestamp(44), Some(fault.code())));
    assert_eq!(shown.why, Some(fault.to_string()));
}

#[test]
fn a_partition_whose_owner_is_not_heard_starts_and_says_so() {
    let (mut stream, mut agreed) = (orders(), partition());
    stream.changed_at = Timestamp(10);
    agreed.owner = Some(NodeId(2));
    let running = condition(RunState::Running, 5, None);
    let of_before = Epoch(agreed.epoch.0.checked_sub(1).unwrap());
    let measured = |epoch| Some(Measured { epoch, condition: &running, runs: true });
    let known = |silent: Option<i64>| Ownership {
        since: Timestamp(50),
        silent: silent.map(|heard| ("node-2".to_owned(), Timestamp(heard))),
    };
    let shown = |measured, silent| partition_condition(&stream, &agreed, measured, &known(silent));
    assert_eq!(shown(measured(agreed.epoch), None), running);
    let missing = shown(None, None);
    assert_eq!((missing.state, missing.since), (RunState::Starting, Timestamp(50)), "not since the stream exists");
    let silent = shown(None, Some(70));
    assert_eq!((silent.state, silent.since, silent.code), (RunState::Starting, Timestamp(70), None));
    assert!(silent.why.as_ref().unwrap().contains("its owner node-2 has not reported"), "{silent:?}");
    assert_eq!(shown(None, Some(30)).since, Timestamp(50), "the ownership began while its owner was silent");
    let taken_over = shown(measured(of_before), None);
    assert_eq!((taken_over.state, taken_over.since), (RunState::Starting, Timestamp(50)), "it ran under another owner");
    agreed.owner = None;
    let nobodys = partition_condition(&stream, &agreed, None, &known(None));
    assert_eq!((nobodys.state, nobodys.since), (RunState::Ready, Timestamp(50)));
}

#[test]
fn what_was_agreed_to_be_durable_is_shown_so_by_a_new_owner() {
    let mut view = crate::admin::tests::two_streams();
    let board = StatusBoard::default();
    let (id, agreed) = view.partitions.iter_mut().next().unwrap();
    let (id, epoch) = (id.clone(), agreed.epoch);
    agreed.checkpoint = Some(crate::supervisor::testing::checkpoint(epoch.0, 40));
    let gauge = board.partition(&id, epoch, Timestamp(1));
    let durable = |view: &_| survey(view, &board)[0].partitions[0].figures.as_ref().unwrap().durable_next;
    assert_eq!(durable(&view), Some(40));
    gauge.set_durable(30, None);
    assert_eq!(durable(&view), Some(40));
    gauge.set_durable(50, None);
    assert_eq!(durable(&view), Some(50));
    let next = view.partitions.get_mut(&id).unwrap();
    next.epoch = next.epoch.next();
    assert!(survey(&view, &board)[0].partitions[0].figures.is_none(), "of an ownership that is over");
}

#[test]
fn a_stream_shows_the_worst_of_its_partitions() {
    let running = |since| condition(RunState::Running, since, None);
    let catching = condition(RunState::CatchingUp, 30, None);
    let blocked = |since| condition(RunState::Blocked, since, Some("broker-a is unreachable"));
    type Row = (Vec<Condition>, RunState, i64, Option<&'static str>);
    let rows: Vec<Row> = vec![
        (vec![running(10), running(20)], RunState::Running, 20, None),
        (vec![running(10), catching.clone()], RunState::CatchingUp, 30, None),
        (
            vec![blocked(50), running(10), blocked(40)],
            RunState::Blocked,
            40,
            Some("2 partitions of 3: broker-a is unreachable"),
        ),
        (vec![blocked(50), blocked(40)], RunState::Blocked, 40, Some("broker-a is unreachable")),
        (vec![blocked(50)], RunState::Blocked, 50, Some("broker-a is unreachable")),
        (
            vec![catching, blocked(60), running(1)],
            RunState::Blocked,
            60,
            Some("1 partition of 3: broker-a is unreachable"),
        ),
    ];
    for (partitions, state, since, why) in rows {
        let borrowed: Vec<_> = partitions.iter().collect();
        let shown = stream_condition(&orders(), None, &borrowed);
        assert_eq!((shown.state, shown.since, shown.why.as_deref()), (state, Timestamp(since), why), "{partitions:?}");
        assert_eq!(shown.code.is_some(), why.is_some());
    }
}

#[test]
fn a_stream_without_partitions_is_ready_or_what_keeps_it_from_running() {
    assert_eq!(stream_condition(&orders(), None, &[]).state, RunState::Ready);
    let missing = condition(RunState::Blocked, 7, Some("topic orders does not exist"));
    assert_eq!(stream_condition(&orders(), Some(&missing), &[]), missing);
}

#[test]
fn what_keeps_the_whole_stream_yields_only_to_something_worse() {
    let whole = condition(RunState::Blocked, 7, Some("topic orders does not exist"));
    let running = condition(RunState::Running, 1, None);
    let faulted = condition(RunState::Faulted, 2, Some("gap"));
    assert_eq!(stream_condition(&orders(), Some(&whole), &[&running]), whole);
    assert_eq!(stream_condition(&orders(), Some(&whole), &[&running, &faulted]).state, RunState::Faulted);
}

#[test]
fn a_note_on_the_whole_stream_is_added_to_what_its_partitions_say() {
    let note = Condition { code: None, ..condition(RunState::Running, 7, Some("new queues cannot be found")) };
    let running = condition(RunState::Running, 1, None);
    let catching = condition(RunState::CatchingUp, 2, None);
    let blocked = condition(RunState::Blocked, 3, Some("broker-a is unreachable"));
    for (partitions, state, why) in [
        (vec![&running], RunState::Running, "new queues cannot be found"),
        (vec![&running, &catching], RunState::CatchingUp, "new queues cannot be found"),
        (vec![&blocked], RunState::Blocked, "broker-a is unreachable; new queues cannot be found"),
    ] {
        let shown = stream_condition(&orders(), Some(&note), &partitions);
        assert_eq!((shown.state, shown.why.as_deref()), (state, Some(why)));
        assert_eq!(shown.since, partitions.last().unwrap().since);
    }
}

#[test]
fn a_paused_stream_is_paused_and_names_what_waits() {
    let mut stream = orders();
    stream.desired = DesiredState::Paused;
    stream.changed_at = Timestamp(99);
    let running = condition(RunState::Running, 1, None);
    let faulted = condition(RunState::Faulted, 2, Some("gap"));
    let shown = stream_condition(&stream, None, &[&running]);
    assert_eq!((shown.state, shown.since, shown.why), (RunState::Paused, Timestamp(99), None));
    let shown = stream_condition(&stream, None, &[&running, &faulted]);
    assert_eq!(shown.state, RunState::Paused);
    assert_eq!(shown.why.as_deref(), Some("1 partition will need a decision after it is resumed"));
}

#[test]
fn rpo_is_the_lag_or_the_age_of_knowing_that_there_is_none() {
    let gauge = PartitionGauge::new(Epoch(1), Timestamp(0));
    let now = Timestamp(100_000);
    assert_eq!(rpo_seconds(&gauge.figures(), now), None);
    gauge.set_source(10, 10);
    gauge.set_durable(10, Some(99_000));
    assert_eq!(rpo_seconds(&gauge.figures(), now), None, "nobody saw the end of the queue yet");
    gauge.set_caught_up(Timestamp(98_000));
    assert_eq!(rpo_seconds(&gauge.figures(), now), Some(2.0));
    let silent = PartitionFigures { source_maximum: None, ..gauge.figures() };
    assert_eq!(rpo_seconds(&silent, now), Some(1.0), "whatever came since the newest durable message");
    gauge.set_source(10, 12);
    assert_eq!(rpo_seconds(&gauge.figures(), now), Some(1.0), "the newest durable message is one second old");
}

#[test]
fn a_survey_puts_every_partition_to_its_stream() {
    let view = crate::admin::tests::two_streams();
    let board = StatusBoard::default();
    let (id, agreed) = view.partitions.first_key_value().unwrap();
    board.partition(id, agreed.epoch, Timestamp(1)).set_condition(RunState::Running, None, None, Timestamp(2));
    let seen = survey(&view, &board);
    assert_eq!(seen.iter().map(|stream| stream.partitions.len()).collect::<Vec<_>>(), [2, 1]);
    assert!(seen[0].partitions[0].figures.is_some() && seen[1].partitions[0].figures.is_none());
    let alone = super::survey_one(&view, &board, seen[0].agreed);
    assert_eq!(alone.condition, seen[0].condition);
}
