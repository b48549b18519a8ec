//! What the tests of the API share: a cluster that is the plain state machine, two streams, gauges, a whole context.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use causeway_cluster::Backup;
use causeway_core::checkpoint::Checkpoint;
use causeway_core::command::{CURRENT_VERSION, Command, Envelope, NewPartition};
use causeway_core::ids::{Epoch, Incarnation, InstanceIdentity, NodeId, RuleVersion, StreamId, Timestamp};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::node::MemberRole;
use causeway_core::outcome::Outcome;
use causeway_core::partition::{Partition, PartitionId, QueueId};
use causeway_core::state::State;
use causeway_core::stream::Stream;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use tokio::sync::watch;

use super::auth::token_hash;
use super::model::status::RaftStatus;
use super::model::stream::CreateStream;
use super::seam::{AdminContext, Cluster, Member, NoBackup, NoTransfer, NodeIdentity, ProposeError};
use super::validate;
use crate::config::NodeConfig;
use crate::connect::Instances;
use crate::secrets::SecretStore;
use crate::status::node::{Known, LeaseState, NodeBoard, NodeFigures, NodeLiveness, NodeReport};
use crate::status::{RunState, StatusBoard};
use crate::telemetry::RateHistory;

/// The time at which tests happen.
pub(crate) const NOW: Timestamp = Timestamp(1_763_800_000_000);

/// The token that the fixture knows.
pub(crate) const TOKEN: &str = "cwy_test";

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The body that creates a stream from the topic of its name of qingdao to that of hohhot.
pub(crate) fn create_orders(stream: &str) -> serde_json::Value {
    json!({
        "name": stream,
        "source": { "instance": "qingdao", "topic": stream },
        "target": { "instance": "hohhot", "topic": stream },
    })
}

fn instance(text: &str) -> InstanceSpec {
    InstanceSpec {
        name: name(text),
        region: name(text),
        name_servers: vec![if text == "hohhot" { "127.0.0.1:2" } else { "127.0.0.1:1" }.to_owned()],
        credentials: None,
        tls: None,
    }
}

/// The state machine with its log index.
#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) state: State,
    index: u64,
}

impl Replica {
    pub(crate) fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let envelope = Envelope { version: CURRENT_VERSION, request: 0, at: NOW, command };
        self.state.apply(self.index, &envelope)
    }

    /// `orders` (stream 3, queues 0 and 1) and `payments` (stream 4, queue 0), all owned by node 1.
    fn with_two_streams() -> Self {
        let mut replica = Self::default();
        for text in ["qingdao", "hohhot"] {
            let identity = InstanceIdentity(u64::from(text.len() == 7));
            replica.apply(Command::PutInstance { spec: instance(text), identity, expected: None });
        }
        for (stream, queues) in [("orders", 2), ("payments", 1)] {
            let request: CreateStream = serde_json::from_value(create_orders(stream)).unwrap();
            let spec = validate::stream(&request, &replica.state, NOW).unwrap();
            let Outcome::StreamCreated(stream) = replica.apply(Command::CreateStream { spec }) else { panic!() };
            for queue in 0..queues {
                replica.own(stream, queue);
            }
        }
        replica
    }

    fn own(&mut self, stream: StreamId, queue: u32) {
        let source = QueueId { broker: "broker-a".to_owned(), queue };
        let partitions = vec![NewPartition { source: source.clone(), target: source.clone() }];
        self.apply(Command::AddPartitions { stream, partitions });
        let partition = PartitionId { stream, source };
        self.apply(Command::Assign { partition, node: NodeId(1), epoch: Epoch(1) });
    }
}

pub(crate) fn two_streams() -> State {
    Replica::with_two_streams().state
}

pub(crate) fn orders() -> Stream {
    two_streams().streams[&name("orders")].clone()
}

pub(crate) fn partition() -> Partition {
    two_streams().partitions.into_values().next().unwrap()
}

pub(crate) fn partition_at(source_next: i64) -> Partition {
    let checkpoint = Checkpoint {
        epoch: Epoch(1),
        rule_version: RuleVersion(0),
        source_next,
        target_next: 0,
        source_incarnation: Incarnation(0),
        target_incarnation: Incarnation(0),
        fingerprint: None,
        last_copy: None,
    };
    Partition { checkpoint: Some(checkpoint), ..partition() }
}

pub(crate) fn secret_store() -> (tempfile::TempDir, SecretStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SecretStore::open(directory.path()).unwrap();
    (directory, store)
}

/// A cluster of one that agrees at once, or never.
pub(crate) struct FakeCluster {
    replica: Mutex<Replica>,
    changed: watch::Sender<Arc<State>>,
    /// Why nothing is agreed, if so.
    pub(crate) down: Mutex<Option<ProposeError>>,
    /// Members of the Raft group beside node 1.
    pub(crate) also_members: Mutex<Vec<NodeId>>,
    /// Why node 1 was removed, if it was; then it knows no leader.
    pub(crate) removed: Mutex<Option<String>>,
}

impl Cluster for FakeCluster {
    fn view(&self) -> Arc<State> {
        Arc::clone(&self.changed.borrow())
    }

    fn propose(&self, command: Command) -> BoxFuture<'static, Result<Outcome, ProposeError>> {
        let down = self.down.lock().unwrap().clone();
        let answer = match down {
            Some(error) => Err(error),
            None => Ok(self.apply(command)),
        };
        std::future::ready(answer).boxed()
    }

    fn raft(&self) -> RaftStatus {
        let removed = self.removed.lock().unwrap().clone();
        let (role, leader) = ("leader".to_owned(), removed.is_none().then_some(NodeId(1)));
        RaftStatus { role, leader, term: 1, applied_index: 8, apply_lag_entries: 0, nodes: 0, removed }
    }

    fn backup(&self, stale: bool) -> BoxFuture<'static, Result<Backup, NoBackup>> {
        let answer = match &*self.down.lock().unwrap() {
            Some(error) if !stale => Err(NoBackup::Unconfirmed(error.why.clone())),
            _ => Ok(Backup { bytes: b"the agreed state".to_vec(), applied: 8, confirmed: !stale }),
        };
        std::future::ready(answer).boxed()
    }

    fn members(&self) -> Vec<Member> {
        let others = self.also_members.lock().unwrap().clone();
        let voter = |node| Member { role: Some(MemberRole::Voter), ..Member::unknown(node) };
        std::iter::once(NodeId(1)).chain(others).map(voter).collect()
    }

    fn transfer_leader(&self, _: Option<NodeId>) -> BoxFuture<'static, Result<(), NoTransfer>> {
        std::future::ready(Err(NoTransfer::CannotLead("nobody else can lead".to_owned()))).boxed()
    }
}

impl FakeCluster {
    pub(crate) fn apply(&self, command: Command) -> Outcome {
        let mut replica = self.replica.lock().unwrap();
        let outcome = replica.apply(command);
        self.changed.send_replace(Arc::new(replica.state.clone()));
        outcome
    }
}

/// What node 1 says, which leads alone.
fn leader() -> NodeReport {
    let lease = (LeaseState::Held, Some(2.5));
    let figures =
        NodeFigures { leads: true, term: 1, lease: lease.0, lease_seconds: lease.1, ..NodeFigures::default() };
    let known = Known { liveness: Some(NodeLiveness::Up), behind_entries: Some(0) };
    NodeReport { figures, known: BTreeMap::from([(NodeId(1), known)]) }
}

/// Everything that the API works on, in memory and a temporary folder.
pub(crate) struct Fixture {
    pub(crate) cluster: Arc<FakeCluster>,
    pub(crate) directory: tempfile::TempDir,
    context: AdminContext,
}

impl Fixture {
    pub(crate) fn with_two_streams() -> Self {
        let mut replica = Replica::with_two_streams();
        replica.apply(Command::PutToken { name: name("admin"), hash: token_hash(TOKEN) });
        let (changed, view) = watch::channel(Arc::new(replica.state.clone()));
        let cluster = Arc::new(FakeCluster {
            replica: Mutex::new(replica),
            changed,
            down: Mutex::default(),
            also_members: Mutex::default(),
            removed: Mutex::default(),
        });
        let (directory, secrets) = secret_store();
        let secrets = Arc::new(secrets);
        let config = NodeConfig::with_data_directory(directory.path()).unwrap();
        let context = AdminContext {
            node: NodeIdentity {
                id: NodeId(1),
                name: name("node-1"),
                region: name("hohhot"),
                version: "0.1.0",
                started_at: NOW,
            },
            cluster: cluster.clone(),
            instances: Arc::new(Instances::new(view, Arc::clone(&secrets), config.connection)),
            board: Arc::new(StatusBoard::default()),
            rates: Arc::new(RateHistory::new()),
            nodes: Arc::new(NodeBoard::new(NodeId(1), Box::new(leader))),
            secrets,
            metrics: Arc::new(|_| "causeway_up 1\n".to_owned()),
        };
        Self { cluster, directory, context }
    }

    pub(crate) fn context(&self) -> AdminContext {
        self.context.clone()
    }

    /// The version of what the next change creates.
    pub(crate) fn next_version(&self) -> u64 {
        self.cluster.replica.lock().unwrap().index + 1
    }

    /// Everything under the data directory, as one text.
    pub(crate) fn files(&self) -> String {
        let paths: Vec<PathBuf> =
            std::fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
    }
}

/// A partition that runs, is so far, and knew two seconds before [`NOW`] what it knows.
pub(crate) fn running_gauge(fixture: &Fixture, id: &PartitionId, maximum: i64, durable: i64) {
    let gauge = fixture.context.board.partition(id, Epoch(1), NOW);
    gauge.set_condition(RunState::Running, None, None, NOW);
    gauge.set_source(durable, maximum);
    gauge.set_durable(durable, Some(NOW.0 - 2000));
    gauge.set_caught_up(Timestamp(NOW.0 - 2000));
}

impl Fixture {
    /// What was agreed, as one text.
    pub(crate) fn cluster_state(&self) -> String {
        format!("{:?}", self.context.cluster.view())
    }
}
