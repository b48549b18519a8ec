//! Sums and worsts: what is unknown for one is unknown for all, and a paused stream does not darken the map.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::Method;
use causeway_core::command::Command;
use causeway_core::ids::{Epoch, NodeId, Timestamp};
use causeway_core::node::{NodeSpec, ProcessId};

use tokio::time::Instant;

use super::{answer, flows};
use crate::admin::history::History;
use crate::admin::model::status::{StatusAnswer, StatusQuery};
use crate::admin::router_tests::{Ask, run};
use crate::admin::seam::AdminContext;
use crate::admin::tests::{Fixture, NOW, name, running_gauge};
use crate::clock;
use crate::status::node::{NodeLiveness, REMOVED};
use crate::status::{ReadPath, RunState, Silence, StatusBoard};

fn status(fixture: &Fixture) -> StatusAnswer {
    let context = fixture.context();
    answer(&context, &context.cluster.view(), &History::default(), StatusQuery::default(), NOW)
}

#[actix_web::test]
async fn a_figure_that_one_partition_does_not_know_is_unknown_for_the_stream() {
    let fixture = Fixture::with_two_streams();
    let view = fixture.context().cluster.view();
    let ids: Vec<_> = view.partitions.keys().filter(|id| id.stream.0 == 3).cloned().collect();
    running_gauge(&fixture, &ids[0], 100, 90);
    let board = &fixture.context().board;
    board.partition(&ids[0], Epoch(1), NOW).set_checkpointed(Timestamp(NOW.0 - 3000));
    let figures = status(&fixture).streams.remove(0).figures;
    assert_eq!((figures.lag_messages, figures.lag_seconds, figures.rpo_seconds), (None, None, None));
    assert_eq!(figures.checkpoint_age_seconds, None);
    running_gauge(&fixture, &ids[1], 50, 45);
    let figures = status(&fixture).streams.remove(0).figures;
    assert_eq!(figures.lag_messages, Some(15));
    assert!(figures.lag_seconds.is_some_and(|seconds| (seconds - 2.0).abs() < 1e-9));
    assert_eq!(figures.checkpoint_age_seconds, None, "the second has none yet");
    board.partition(&ids[1], Epoch(1), NOW).set_checkpointed(Timestamp(NOW.0 - 1000));
    assert_eq!(status(&fixture).streams.remove(0).figures.checkpoint_age_seconds, Some(3.0));
}

#[actix_web::test]
async fn a_stream_says_by_which_path_its_partitions_are_read_while_they_run() {
    let fixture = Fixture::with_two_streams();
    let spec = NodeSpec { name: name("node-1"), region: name("hohhot"), address: None, supports: 3 };
    fixture.cluster.apply(Command::StartNode { node: NodeId(1), spec, process: ProcessId(1) });
    let board = fixture.context().board;
    let view = fixture.context().cluster.view();
    let gauges: Vec<_> = view.partitions.iter().map(|(id, is)| board.partition(id, is.epoch, NOW)).collect();
    gauges.iter().for_each(|gauge| gauge.set_runs(true));
    let paths = || {
        let figures = status(&fixture).streams.remove(0).figures;
        (figures.direct_partitions, figures.relayed_partitions)
    };
    assert_eq!(paths(), (0, BTreeMap::new()), "nothing was read yet");
    gauges[0].set_read_path(ReadPath::Direct);
    gauges[1].set_read_path(ReadPath::Relay(NodeId(1)));
    assert_eq!(paths(), (1, BTreeMap::from([(name("node-1"), 1)])));
    gauges[1].set_read_path(ReadPath::Relay(NodeId(9)));
    assert_eq!(paths(), (1, BTreeMap::new()), "there is no such node any more");
    gauges[0].set_runs(false);
    assert_eq!(paths(), (0, BTreeMap::new()), "it reads nothing");
}

#[actix_web::test]
async fn an_arrow_shows_the_worst_state_and_the_largest_rpo_of_what_is_not_paused() {
    let fixture = Fixture::with_two_streams();
    for id in fixture.context().cluster.view().partitions.keys() {
        running_gauge(&fixture, id, 10, 10);
    }
    let mut shown = status(&fixture);
    assert_eq!(shown.flows.len(), 1);
    assert_eq!((shown.flows[0].state, shown.flows[0].streams), (RunState::Running, 2));
    assert!(shown.flows[0].rpo_seconds.is_some());
    shown.streams[0].condition.state = RunState::Blocked;
    shown.streams[0].figures.rpo_seconds = Some(70.0);
    let flow = flows(&shown.streams).remove(0);
    assert_eq!((flow.state, flow.rpo_seconds), (RunState::Blocked, Some(70.0)));
    shown.streams[0].figures.rpo_seconds = None;
    assert_eq!(flows(&shown.streams).remove(0).rpo_seconds, None, "unknown is not zero");
    shown.streams[0].condition.state = RunState::Paused;
    let flow = flows(&shown.streams).remove(0);
    assert_eq!(flow.state, RunState::Running);
    assert!(flow.rpo_seconds.is_some());
    shown.streams[1].condition.state = RunState::Paused;
    let flow = flows(&shown.streams).remove(0);
    assert_eq!((flow.state, flow.rpo_seconds), (RunState::Paused, None));
}

#[actix_web::test]
async fn history_comes_only_when_asked_for_and_only_what_is_new() {
    let fixture = Fixture::with_two_streams();
    let context = fixture.context();
    let view = context.cluster.view();
    for second in 0..=40 {
        context.rates.sample(&view, &context.board, Timestamp(NOW.0 + second * 1000));
    }
    let ask = |history_since| {
        let query = StatusQuery { history_since };
        let shown = answer(&context, &view, &History::default(), query, NOW);
        shown.streams[0].history.iter().map(|point| point.at.0 - NOW.0).collect::<Vec<_>>()
    };
    assert_eq!(ask(None), Vec::<i64>::new());
    assert_eq!(ask(Some(0)), [10_000, 20_000, 30_000, 40_000]);
    assert_eq!(ask(Some(NOW.0 + 20_000)), [30_000, 40_000]);
}

#[actix_web::test]
async fn a_node_that_was_removed_says_so_everywhere_and_what_a_leader_said_before_is_not_shown() {
    let fixture = Fixture::with_two_streams();
    let spec = NodeSpec { name: name("node-1"), region: name("hohhot"), address: None, supports: 3 };
    fixture.cluster.apply(Command::StartNode { node: NodeId(1), spec, process: ProcessId(1) });
    let ask = async |path: &str| run(&fixture, vec![Ask(Method::GET, path, None, &[])]).await.remove(0);
    let (_, _, body) = ask("/healthz").await;
    assert_eq!(body.as_str(), Some("ok\n"));
    assert_eq!(status(&fixture).nodes[0].liveness, Some(NodeLiveness::Up));
    let why = "node 1 was removed from the cluster".to_owned();
    *fixture.cluster.removed.lock().unwrap() = Some(why.clone());
    let (code, _, body) = ask("/healthz").await;
    assert_eq!((code.as_u16(), body.as_str()), (200, Some(format!("removed: {REMOVED}\n").as_str())));
    assert_eq!(ask("/v1/nodes").await.2["removed"].as_str(), Some(why.as_str()));
    let answer = status(&fixture);
    assert_eq!((answer.raft.removed, answer.raft.leader), (Some(why), None));
    assert_eq!((answer.nodes[0].liveness, answer.nodes[0].leader), (None, false));
}

#[actix_web::test]
async fn an_owner_that_is_not_heard_makes_its_stream_unknown_and_not_running() {
    let fixture = Fixture::with_two_streams();
    let view = fixture.context().cluster.view();
    let own = Arc::new(StatusBoard::default());
    let context = AdminContext { board: Arc::new(own.overview()), ..fixture.context() };
    let told = StatusBoard::default();
    for (id, is) in &view.partitions {
        let gauge = told.partition(id, is.epoch, NOW);
        gauge.set_condition(RunState::Running, None, None, NOW);
        gauge.set_source(90, 90);
        gauge.set_durable(90, Some(NOW.0));
    }
    let owner = view.partitions.values().next().unwrap().owner.unwrap();
    let shown = || {
        context.rates.sample(&view, &context.board, Timestamp(clock::now().0));
        let answer = answer(&context, &view, &History::default(), StatusQuery::default(), NOW);
        answer.streams.into_iter().next().unwrap()
    };
    context.board.heard(owner, told.partitions());
    let running = shown();
    assert_eq!((running.condition.state, running.figures.lag_messages), (RunState::Running, Some(0)));
    context.board.unheard(owner, Silence { since: Timestamp(i64::MAX), at: Instant::now() });
    let unknown = shown();
    assert_eq!((unknown.condition.state, unknown.condition.since), (RunState::Starting, Timestamp(i64::MAX)));
    assert!(unknown.condition.why.unwrap().contains("has not reported"));
    let figures = unknown.figures;
    assert_eq!((figures.lag_messages, figures.lag_seconds, figures.rpo_seconds), (None, None, None));
    assert_eq!((figures.checkpoint_age_seconds, figures.copied_messages_per_second), (None, None));
}
