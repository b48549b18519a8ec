//! A whole node between two brokers in memory: streams are created, copied, stopped and started again.
//!
//! The stub brokers prove nothing about real ones; they prove that the parts of a node work together.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use causeway::app::{Error, Node};
use causeway::config::NodeConfig;
use causeway::status::{Condition, RunState};
use causeway_core::command::Command;
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Resolution;
use causeway_core::ids::InstanceIdentity;
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::outcome::Outcome;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};
use causeway_rocketmq::stub::{Fault, Stub, StubOptions};
use causeway_rocketmq::wire::code::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE_V2};
use causeway_rocketmq::wire::record::decode_records;
use tokio::time::{Instant, sleep};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A node's configuration with short waits; nothing else writes to the stubs, so little settling is needed.
fn config(directory: &Path) -> NodeConfig {
    let mut config = NodeConfig::with_data_directory(directory).unwrap();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.connection.request_timeout = Duration::from_secs(2);
    config.schedule.discovery_interval = Duration::from_millis(200);
    config.replication.settle = Duration::from_millis(300);
    config.replication.settle_own = Duration::from_millis(300);
    config.replication.poll_wait = Duration::from_millis(200);
    config
}

async fn register(node: &Node, instance: &str, identity: u64, stub: &Stub) {
    let spec = InstanceSpec {
        name: name(instance),
        region: name(instance),
        name_servers: vec![stub.address()],
        credentials: None,
        tls: None,
    };
    let command = Command::PutInstance { spec, identity: InstanceIdentity(identity), expected: None };
    let registered = node.cluster().propose(command).await.unwrap();
    assert!(matches!(registered, Outcome::Changed(_)), "{registered:?}");
}

async fn create_stream(node: &Node) {
    let end = |instance: &str| Endpoint { instance: name(instance), topic: "orders".into() };
    let spec = StreamSpec {
        name: name("orders"),
        source: end("qingdao"),
        target: end("hohhot"),
        start: StartPosition::Earliest,
        tag_expression: "*".into(),
        run: RunOptions::default(),
    };
    let created = node.cluster().propose(Command::CreateStream { spec }).await.unwrap();
    assert!(matches!(created, Outcome::StreamCreated(_)), "{created:?}");
}

fn produce(stub: &Stub, queues: usize, numbers: std::ops::Range<usize>) {
    for number in numbers {
        for queue in 0..queues {
            let body = format!("{queue}-{number}");
            let key = format!("KEYS\u{1}{body}\u{2}");
            assert!(stub.store().append("orders", queue, body.as_bytes(), key.as_bytes()).is_some());
        }
    }
    stub.wake();
}

/// The bodies of every queue of a topic, in their order.
fn bodies(stub: &Stub, queues: usize) -> Vec<Vec<String>> {
    let records = |queue| stub.store().stored("orders", queue);
    let body = |stored: Bytes| {
        let record = decode_records(&stored).next().unwrap().unwrap();
        String::from_utf8(record.body.to_vec()).unwrap()
    };
    (0..queues).map(|queue| records(queue).into_iter().map(body).collect()).collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn condition(node: &Node) -> Option<Condition> {
    let stream = node.cluster().view().streams.get(&name("orders"))?.id;
    node.board().stream(stream)
}

#[tokio::test]
async fn a_topic_crosses_and_a_restarted_node_goes_on_without_duplicates() {
    let (source, target) = (stub().await, stub().await);
    source.store().create_topic("orders", 3);
    produce(&source, 3, 0..50);
    let directory = tempfile::tempdir().unwrap();

    let node = Node::start(config(directory.path())).await.unwrap();
    let token = node.first_token().unwrap();
    assert!(ask(&node, "/healthz", "").await.starts_with("200"));
    assert!(ask(&node, "/metrics", "wrong").await.starts_with("401"));
    let metrics = ask(&node, "/metrics", &token).await;
    assert!(metrics.starts_with("200") && metrics.contains("causeway_raft_applied_index"), "{metrics}");
    register(&node, "qingdao", 1, &source).await;
    register(&node, "hohhot", 2, &target).await;
    create_stream(&node).await;
    until("the backlog is copied", || bodies(&target, 3) == bodies(&source, 3)).await;
    produce(&source, 3, 50..80);
    until("what follows is copied", || bodies(&target, 3) == bodies(&source, 3)).await;
    node.stop().await.unwrap();

    produce(&source, 3, 80..100);
    let node = Node::start(config(directory.path())).await.unwrap();
    assert!(node.first_token().is_none(), "the first token is created once");
    until("what came meanwhile is copied", || bodies(&target, 3).iter().all(|queue| queue.len() >= 100)).await;
    produce(&source, 3, 100..101);
    until("and what follows", || bodies(&target, 3).iter().all(|queue| queue.len() >= 101)).await;
    assert_eq!(bodies(&target, 3), bodies(&source, 3), "each once, in order");
    node.stop().await.unwrap();
    assert_eq!(bodies(&target, 3), bodies(&source, 3));
}

#[tokio::test]
async fn a_copy_of_the_data_directory_starts_and_goes_on_behind_what_the_original_copied_later() {
    let (source, target) = (stub().await, stub().await);
    source.store().create_topic("orders", 2);
    produce(&source, 2, 0..30);
    let folder = tempfile::tempdir().unwrap();
    let (original, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let node = Node::start(config(&original)).await.unwrap();
    register(&node, "qingdao", 1, &source).await;
    register(&node, "hohhot", 2, &target).await;
    create_stream(&node).await;
    until("the backlog is copied", || bodies(&target, 2) == bodies(&source, 2)).await;
    node.stop().await.unwrap();
    copy_directory(&original, &backup);

    let node = Node::start(config(&original)).await.unwrap();
    produce(&source, 2, 30..60);
    until("what follows is copied", || bodies(&target, 2) == bodies(&source, 2)).await;
    node.stop().await.unwrap();
    std::fs::remove_dir_all(&original).unwrap();

    produce(&source, 2, 60..90);
    let node = Node::start(config(&backup)).await.unwrap();
    assert!(node.first_token().is_none(), "tokens are in the copy");
    until("it goes on", || bodies(&target, 2).iter().all(|queue| queue.len() >= 90)).await;
    node.stop().await.unwrap();
    assert_eq!(bodies(&target, 2), bodies(&source, 2), "each once, in order");
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn sends_whose_outcome_is_unknown_are_neither_lost_nor_doubled() {
    let (source, target) = (stub().await, stub().await);
    source.store().create_topic("orders", 2);
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(config(directory.path())).await.unwrap();
    register(&node, "qingdao", 1, &source).await;
    register(&node, "hohhot", 2, &target).await;
    create_stream(&node).await;
    for (round, fault) in [Fault::ExecuteThenClose, Fault::Close, Fault::CloseMidFrame].into_iter().enumerate() {
        for code in [SEND_MESSAGE_V2, SEND_BATCH_MESSAGE] {
            target.fault(code, fault.clone());
        }
        produce(&source, 2, round * 20..(round + 1) * 20);
        until("the messages of this round are copied", || bodies(&target, 2) == bodies(&source, 2)).await;
    }
    let met = target.requests(SEND_MESSAGE_V2) + target.requests(SEND_BATCH_MESSAGE);
    assert!(met >= 6, "the faults were met");
    node.stop().await.unwrap();
    assert_eq!(bodies(&target, 2), bodies(&source, 2), "each once, in order");
}

#[tokio::test]
async fn a_source_that_rolled_back_stops_its_partition_until_an_operator_decides() {
    let (source, target) = (stub().await, stub().await);
    source.store().create_topic("orders", 2);
    produce(&source, 2, 0..10);
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(config(directory.path())).await.unwrap();
    register(&node, "qingdao", 1, &source).await;
    register(&node, "hohhot", 2, &target).await;
    create_stream(&node).await;
    until("the backlog is copied", || bodies(&target, 2) == bodies(&source, 2)).await;
    let checkpointed = || {
        let view = node.cluster().view();
        view.partitions.values().all(|partition| partition.checkpoint.as_ref().is_some_and(|at| at.source_next == 10))
    };
    until("all of it is in the checkpoints", checkpointed).await;

    source.store().truncate("orders", 0, 4);
    source.wake();
    let faults = || {
        let view = node.cluster().view();
        view.partitions.values().map(|partition| partition.fault.clone().map(|raised| raised.fault)).collect::<Vec<_>>()
    };
    let rolled_back = Some(causeway_core::fault::Fault::SourceRolledBack { copied: 10, maximum: 6 });
    until("the rollback is a fault of queue 0 alone", || faults() == [rolled_back.clone(), None]).await;

    let (partition, _) =
        node.cluster().view().partitions.first_key_value().map(|(id, to)| (id.clone(), to.clone())).unwrap();
    let resolution = Resolution::Restart { start: StartPosition::Offset(6) };
    node.cluster().propose(Command::ResolveFault { partition, resolution }).await.unwrap();
    for queue in 0..2 {
        source.store().append("orders", queue, b"after", b"").unwrap();
    }
    source.wake();
    until("both queues go on", || {
        bodies(&target, 2).iter().all(|queue| queue.last().is_some_and(|body| body == "after"))
    })
    .await;
    assert_eq!(bodies(&target, 2).iter().map(Vec::len).collect::<Vec<_>>(), [11, 11], "nothing was copied twice");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_missing_blocks_the_stream_and_heals_when_it_is_there() {
    let (source, target) = (stub().await, stub().await);
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(config(directory.path())).await.unwrap();
    register(&node, "qingdao", 1, &source).await;
    register(&node, "hohhot", 2, &target).await;
    create_stream(&node).await;
    until("the missing source topic is noticed", || condition(&node).is_some()).await;
    let Condition { state, code, why, .. } = condition(&node).unwrap();
    assert_eq!((state, code), (RunState::Blocked, Some(ErrorCode::TopicMissing)));
    assert_eq!(why.as_deref(), Some("topic orders does not exist at instance qingdao"));

    source.store().create_topic("orders", 5);
    until("it heals", || condition(&node).is_none()).await;
    let view = node.cluster().view();
    let targets: BTreeMap<u32, u32> =
        view.partitions.iter().map(|(id, to)| (id.source.queue, to.target.queue)).collect();
    assert_eq!(targets, (0..5).map(|queue| (queue, queue)).collect(), "queue i to queue i of a topic made alike");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn source_queues_share_a_target_topic_with_fewer_and_keep_their_place_when_some_are_added() {
    let (source, target) = (stub().await, stub().await);
    source.store().create_topic("orders", 3);
    target.store().create_topic("orders", 2);
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(config(directory.path())).await.unwrap();
    register(&node, "qingdao", 1, &source).await;
    register(&node, "hohhot", 2, &target).await;
    create_stream(&node).await;
    let places = || {
        let view = node.cluster().view();
        view.partitions.iter().map(|(id, to)| (id.source.queue, to.target.queue)).collect::<Vec<_>>()
    };
    until("the queues are found", || places() == [(0, 0), (1, 1), (2, 0)]).await;
    source.store().create_topic("orders", 4);
    until("the new queue is found", || places() == [(0, 0), (1, 1), (2, 0), (3, 1)]).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(config(directory.path())).await.unwrap();

    let Err(error) = Node::start(config(directory.path())).await else { panic!("two nodes in one directory") };
    assert_eq!(error.code(), ErrorCode::DataDirectory, "{error}");

    let other = tempfile::tempdir().unwrap();
    let mut same_port = config(other.path());
    same_port.http.listen = node.address();
    let Err(error) = Node::start(same_port).await else { panic!("two nodes on one port") };
    assert!(matches!(error, Error::Http(_)), "{error}");
    assert_eq!(error.code(), ErrorCode::AddressUnusable, "{error}");

    let started = Node::start(config(other.path())).await.unwrap();
    assert!(started.first_token().is_some(), "the start that failed drew no token that nobody saw");
    started.stop().await.unwrap();
    node.stop().await.unwrap();
}

/// The status and body of a GET.
async fn ask(node: &Node, path: &str, token: &str) -> String {
    let (url, authorization) = (format!("http://{}{path}", node.address()), format!("Bearer {token}"));
    let asking = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(url).header("Authorization", authorization).call().unwrap();
        format!("{} {}", answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    });
    asking.await.unwrap()
}

async fn stub() -> Stub {
    Stub::start(StubOptions::default()).await.unwrap()
}
