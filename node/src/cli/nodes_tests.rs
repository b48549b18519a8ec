//! The table of nodes and what is said of a cluster, compared with golden texts.

use causeway_core::node::MemberRole;
use causeway_core::partition::QueueId;

use super::*;
use crate::cli::tests::{name, status_of, stream_in};
use crate::status::RunState;
use crate::status::node::RelayFigures;

pub(crate) fn node(id: u64) -> NodeView {
    let relay = RelayFigures { served_streams: id * 2, raw_bytes: 5 << 20, sent_bytes: 2 << 20, ..Default::default() };
    NodeView {
        id: NodeId(id),
        name: name(&format!("node-{id}")),
        region: name("hohhot"),
        address: Some(format!("10.0.0.{id}:7501")),
        role: MemberRole::Voter,
        member: Some(MemberRole::Voter),
        leader: id == 1,
        answers: id == 1,
        liveness: Some(NodeLiveness::Up),
        behind_entries: Some(0),
        connection: (id != 1).then(|| "connected".to_owned()),
        draining: false,
        leaving: false,
        partitions: 4,
        leaving_partitions: 0,
        arriving_partitions: 0,
        command_version: 3,
        starts: 1,
        started_at: Timestamp(0),
        figures: Some(NodeFigures {
            version: "0.1.0".to_owned(),
            leads: id == 1,
            term: 7,
            applied_index: 12_000,
            apply_lag_entries: id - 1,
            lease: LeaseState::Held,
            lease_seconds: Some(2.1),
            relay,
            ..NodeFigures::default()
        }),
    }
}

/// One that leads, one that drains, one that is down, one that joins.
fn sample() -> Vec<NodeView> {
    let draining = NodeView { draining: true, leaving_partitions: 2, arriving_partitions: 1, ..node(2) };
    let down = NodeView {
        liveness: Some(NodeLiveness::Down),
        behind_entries: Some(512),
        connection: Some("disconnected: the connection was refused".to_owned()),
        figures: None,
        ..node(3)
    };
    let joining = NodeView {
        member: None,
        liveness: None,
        connection: None,
        partitions: 0,
        starts: 0,
        behind_entries: None,
        figures: None,
        ..node(4)
    };
    vec![node(1), draining, down, joining]
}

/// The same, and a member that was removed and is not taken out yet.
fn listed() -> NodeList {
    let gone = StrangeMember {
        id: NodeId(9),
        member: MemberRole::Voter,
        leader: false,
        behind_entries: Some(3),
        connection: Some("disconnected: closed".to_owned()),
    };
    NodeList { items: sample(), next: None, strange_members: vec![gone], removed: None }
}

#[test]
fn golden_nodes() {
    let drawn = |wide, width| table(&listed(), wide, Timestamp(3_600_000)).lines(width, false).join("\n");
    let all = [drawn(false, 80), drawn(false, 120), drawn(true, 300)].join("\n\n");
    assert_eq!(format!("{all}\n"), include_str!("testdata/nodes.golden"));
}

#[test]
fn a_cluster_is_told_in_one_line_and_a_node_alone_not_at_all() {
    let mut status = status_of(vec![stream_in(RunState::Running)]);
    status.nodes = vec![node(1)];
    assert_eq!(about(&status), None);
    status.nodes = sample();
    status.moves = 2;
    status.raft.apply_lag_entries = 1;
    status.streams[0].figures.relayed_partitions.insert(name("node-2"), 3);
    assert_eq!(
        about(&status).unwrap(),
        "  4 nodes, led by node-1 in term 7, node-2 up, draining, node-3 down, node-4 unknown, this one 1 entry behind, \
         2 partitions are on their way, 3 partitions read through another node"
    );
    status.nodes = vec![NodeView { leader: false, ..node(1) }, node(2)];
    status.moves = 0;
    assert!(about(&status).unwrap().contains("2 nodes, no leader in term 7: nothing can be changed now"));
}

#[test]
fn moves_name_the_nodes_that_are_known() {
    let source = QueueId { broker: "broker-a".to_owned(), queue: 3 };
    let one = MoveView { stream: name("orders"), source, from: NodeId(2), to: NodeId(9) };
    let lines = moves_table(&[one], &sample()).lines(80, false);
    assert_eq!(lines, ["  STREAM  PARTITION   FROM    TO", "  orders  broker-a/3  node-2  node 9"]);
}

#[test]
fn what_a_node_that_was_removed_says_fits_a_narrow_screen() {
    let lines = removal(Some("node-2, as node 2, was removed from the cluster"));
    assert!(lines.len() > 3 && lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with("causeway cluster token.")), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.ends_with("causeway cluster rejoin --at HOST:PORT --config FILE")),
        "{lines:?}"
    );
    assert_eq!(removal(None), Vec::<String>::new());
}

#[test]
fn a_node_that_was_removed_says_so_with_its_status_and_its_nodes() {
    let mut status = status_of(Vec::new());
    status.raft.removed = Some("node 4 was removed from the cluster".to_owned());
    status.raft.leader = None;
    let list = NodeList { removed: status.raft.removed.clone(), strange_members: Vec::new(), ..listed() };
    let answers = [(serde_json::to_string(&status), "status"), (serde_json::to_string(&list), "cluster nodes")];
    for (answer, command) in answers {
        let words: Vec<&str> = command.split(' ').collect();
        let (_, out, err, _) = crate::cli::tests::run_against(vec![(200, answer.expect("text"))], &words);
        let said = out.replace("\n  ", " ");
        assert!(said.contains(REMOVED) && said.contains("node 4 was removed from the cluster"), "{out}{err}");
    }
}
