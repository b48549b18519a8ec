//! What a scrape answers, compared with a golden text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use causeway_core::command::{Command, Envelope, NewPartition};
use causeway_core::fault::Fault;
use causeway_core::ids::{Epoch, NodeId, StreamId};
use causeway_core::node::{NodeSpec, ProcessId};
use causeway_core::partition::{PartitionId, QueueId};

use super::*;
use crate::status::Condition;
use crate::status::node::{Known, LeaseState, NodeFigures, NodeLiveness, RelayFigures};
use crate::telemetry::changes::Counted;
use crate::telemetry::rates::tests::{apply, name, view as one_stream};

const STREAM: StreamId = StreamId(3);

fn queue(queue: u32) -> QueueId {
    QueueId { broker: "broker-a".to_owned(), queue }
}

/// The stream `orders` with three owned queues, the last one faulted.
fn view() -> State {
    let mut state = one_stream();
    let new = (0..3).map(|number| NewPartition { source: queue(number), target: queue(number) }).collect();
    apply(&mut state, 4, Command::AddPartitions { stream: STREAM, partitions: new });
    for number in 0..3 {
        let partition = PartitionId { stream: STREAM, source: queue(number) };
        let assign = Command::Assign { partition, node: NodeId(1), epoch: Epoch(1) };
        apply(&mut state, 5, assign);
    }
    let partition = PartitionId { stream: STREAM, source: queue(2) };
    let fault = Fault::SourceGap { from: 10, to: 20 };
    let envelope = Envelope {
        version: 1,
        request: 0,
        at: Timestamp(500),
        command: Command::RaiseFault { partition, epoch: Epoch(1), fault },
    };
    state.apply(6, &envelope);
    with_nodes(state)
}

/// Two nodes besides.
fn with_nodes(mut state: State) -> State {
    for (number, text) in [(1, "node-1"), (2, "node-2")] {
        let spec = NodeSpec { name: name(text), region: name("hohhot"), address: None, supports: 3 };
        let mut alone = State::default();
        apply(&mut alone, 1, Command::StartNode { node: NodeId(number), spec, process: ProcessId(1) });
        state.nodes.append(&mut alone.nodes);
    }
    state
}

/// The part of node 1 in its cluster: it leads, and node 2 is down.
struct Part {
    figures: NodeFigures,
    known: BTreeMap<NodeId, Known>,
    connected: BTreeMap<NodeId, bool>,
}

impl Default for Part {
    fn default() -> Self {
        let of = |liveness, behind_entries| Known { liveness: Some(liveness), behind_entries: Some(behind_entries) };
        let relay = RelayFigures { served_streams: 3, raw_bytes: 5_000, sent_bytes: 1_700, ..RelayFigures::default() };
        let figures = NodeFigures {
            leads: true,
            lease: LeaseState::Held,
            lease_seconds: Some(2.25),
            lease_losses: 1,
            relay,
            certificate_expires_at: Some(Timestamp(86_460_000)),
            authorities_expire_at: Some(Timestamp(59_000)),
            ..NodeFigures::default()
        };
        Self {
            figures,
            known: BTreeMap::from([(NodeId(1), of(NodeLiveness::Up, 0)), (NodeId(2), of(NodeLiveness::Down, 17))]),
            connected: BTreeMap::from([(NodeId(2), false)]),
        }
    }
}

impl Part {
    fn member(&self) -> Membership<'_> {
        let Self { figures, known, connected } = self;
        let counted = Counted { takeovers: 4, moves_in: 5, member_changes: 1, dropped_messages: 6 };
        Membership { me: NodeId(1), figures, known, connected, counted }
    }
}

fn scrape(queues: bool) -> String {
    let (view, board, history) = (view(), StatusBoard::default(), RateHistory::new());
    for number in 0..2 {
        let id = PartitionId { stream: STREAM, source: queue(number) };
        let gauge = board.partition(&id, Epoch(1), Timestamp(0));
        gauge.set_condition(RunState::Running, None, None, Timestamp(0));
        gauge.written_messages.store(70, Ordering::Relaxed);
        gauge.in_flight_bytes.store(512, Ordering::Relaxed);
        gauge.set_source(100, 100);
        gauge.set_durable(if number == 0 { 100 } else { 88 }, Some(58_500));
        gauge.set_caught_up(Timestamp(57_000));
    }
    history.sample(&view, &board, Timestamp(59_000));
    history.sample(&view, &board, Timestamp(60_000));
    let node = name("node-1");
    let raft = RaftStatus { term: 4, applied: 1_204, committed: 1_206, dropped_messages: 2, ..RaftStatus::default() };
    let part = Part::default();
    let sources = Sources {
        node: &node,
        view: &view,
        board: &board,
        everywhere: &board,
        history: &history,
        raft: Some(&raft),
        member: Some(part.member()),
        now: Timestamp(60_000),
    };
    let steady = |line: &&str| !line.contains("causeway_process_") && !line.contains("causeway_build_info");
    render(&sources, ScrapeOptions { queues }).lines().filter(steady).map(|line| format!("{line}\n")).collect()
}

#[test]
fn golden_scrape() {
    assert_eq!(scrape(false), include_str!("testdata/scrape.golden"));
}

#[test]
fn golden_scrape_by_queue() {
    assert_eq!(scrape(true), include_str!("testdata/scrape_queues.golden"));
}

/// Node 1 runs queue 2, node 2 leads and runs queue 1, and nobody has queue 0.
#[test]
fn a_partition_counts_where_its_owner_is_and_a_stream_has_one_state_everywhere() {
    let (mut view, history, node, part) = (view(), RateHistory::new(), name("n"), Part::default());
    for (number, owner) in [(0, None), (1, Some(NodeId(2))), (2, Some(NodeId(1)))] {
        let partition = view.partitions.get_mut(&PartitionId { stream: STREAM, source: queue(number) }).unwrap();
        (partition.owner, partition.fault) = (owner, None);
    }
    let boards = [1, 2].map(|_| Arc::new(StatusBoard::default()));
    let tell = |board: usize, number, epoch, state| {
        let id = PartitionId { stream: STREAM, source: queue(number) };
        boards[board].partition(&id, Epoch(epoch), Timestamp(0)).set_condition(state, None, None, Timestamp(0));
    };
    tell(0, 2, 1, RunState::Running);
    tell(1, 1, 1, RunState::Blocked);
    // What it ran before.
    tell(1, 2, 0, RunState::Faulted);
    let counts = |me: usize| {
        let (own, other) = (&boards[me], &boards[1 - me]);
        let everywhere = own.overview();
        everywhere.heard(NodeId(if me == 0 { 2 } else { 1 }), other.partitions());
        let figures = NodeFigures { leads: me == 1, ..part.figures.clone() };
        let number = NodeId(if me == 0 { 1 } else { 2 });
        let member = Some(Membership { me: number, figures: &figures, ..part.member() });
        let (raft, now) = (None, Timestamp(0));
        let sources = Sources {
            node: &node,
            view: &view,
            board: own,
            everywhere: &everywhere,
            history: &history,
            raft,
            member,
            now,
        };
        let text = render(&sources, ScrapeOptions::default());
        let states = |metric: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.starts_with(metric) && !line.ends_with(" 0"));
            lines.map(|line| line.split("state=\"").nth(1).unwrap().replace("\"}", "")).collect()
        };
        (states("causeway_partition_state{"), states("causeway_stream_state{"))
    };
    assert_eq!(counts(0), (vec!["running 1".to_owned()], vec!["blocked 1".to_owned()]));
    let at_the_leader = vec!["ready 1".to_owned(), "blocked 1".to_owned()];
    assert_eq!(counts(1), (at_the_leader, vec!["blocked 1".to_owned()]), "what has no owner counts at the leader");
}

#[test]
fn an_empty_node_answers_what_it_knows() {
    let (view, board, history, node) = (State::default(), StatusBoard::default(), RateHistory::new(), name("n"));
    let sources = Sources {
        node: &node,
        view: &view,
        board: &board,
        everywhere: &board,
        history: &history,
        raft: None,
        member: None,
        now: Timestamp(0),
    };
    let text = render(&sources, ScrapeOptions::default());
    assert!(text.contains("causeway_build_info{node=\"n\",version=\""), "{text}");
    assert!(!text.contains("causeway_raft_term"), "{text}");
}

const ALERTS: &str = include_str!("../../../deploy/alerts.yml");

/// What an expression selects: names of our metrics, each with the label values that it asks for.
fn selected(expression: &str) -> Vec<(&str, Vec<&str>)> {
    let part = |(at, _): (usize, &str)| {
        let rest = expression.get(at..)?;
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
        let (name, rest) = rest.split_at(end);
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        Some((name, matchers.split(',').filter(|one| one.contains("=\"") && !one.contains("!=")).collect()))
    };
    expression.match_indices("causeway_").filter_map(part).collect()
}

/// What is measured is left out until it is known; counters and states are there before anything happens.
#[test]
fn every_series_that_an_alert_counts_is_there_from_the_start() {
    let (view, board, history, node) = (one_stream(), StatusBoard::default(), RateHistory::new(), name("n"));
    let (raft, part) = (RaftStatus::default(), Part::default());
    let view = with_nodes(view);
    let now = Timestamp(0);
    let (raft, member) = (Some(&raft), Some(part.member()));
    let everywhere = &board;
    let sources = Sources { node: &node, view: &view, board: &board, everywhere, history: &history, raft, member, now };
    let text = render(&sources, ScrapeOptions::default());
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let measured = [names::STREAM_RPO_SECONDS.name, names::STREAM_LAG_MESSAGES.name];
    let expressions = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let asked: Vec<_> = expressions.flat_map(selected).filter(|(name, _)| !measured.contains(name)).collect();
    assert!(asked.len() > 10, "{asked:?}");
    for (name, matchers) in asked {
        let fits =
            |line: &&str| line.split(['{', ' ']).next() == Some(name) && matchers.iter().all(|one| line.contains(one));
        assert!(series.iter().any(fits), "{name} with {matchers:?}\n{text}");
    }
}

#[test]
fn a_stream_that_is_blocked_without_a_partition_shows_it() {
    let (view, board, history, node) = (one_stream(), StatusBoard::default(), RateHistory::new(), name("n"));
    let (since, code) = (Timestamp(0), Some(ErrorCode::TopicMissing));
    board.set_stream(STREAM, Some(Condition { state: RunState::Blocked, since, why: None, code }));
    history.sample(&view, &board, Timestamp(1_000));
    let sources = Sources {
        node: &node,
        view: &view,
        board: &board,
        everywhere: &board,
        history: &history,
        raft: None,
        member: None,
        now: since,
    };
    let text = render(&sources, ScrapeOptions::default());
    let orders = "node=\"n\",stream=\"orders\",source=\"qingdao\",target=\"hohhot\"";
    for line in [
        format!("causeway_stream_state{{{orders},state=\"blocked\"}} 1"),
        format!("causeway_stream_state{{{orders},state=\"ready\"}} 0"),
        format!("causeway_partition_state{{{orders},state=\"blocked\"}} 0"),
        "causeway_errors_total{node=\"n\",class=\"instance\",code=\"CWY-0303\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
