//! Two nodes of a cluster: the one beside the source relays it to the other.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_cluster::group::join;
use causeway_cluster::transport::{self, Identity, Security};
use causeway_cluster::{Group, MemberChange, Network, Settings, Start, Welcome};
use causeway_core::command::{CURRENT_VERSION, Command};
use causeway_core::ids::{ClusterId, Epoch, InstanceIdentity, NodeId, StreamId, Timestamp};
use causeway_core::instance::InstanceSpec;
use causeway_core::node::{JoinToken, MemberRole, NodeSpec, ProcessId};
use causeway_core::outcome::Outcome;
use causeway_core::partition::{PartitionId, QueueId};
use causeway_core::stream::SlaveReads;
use causeway_rocketmq::stub::{Stub, StubOptions};
use tokio::time::{Instant, sleep};

use super::Members;
use crate::connect::Instances;
use crate::relay::source::RelaySource;
use crate::relay::testing::Direct;
use crate::relay::{Figures, Place, RelaySettings, RelayedSource, Relaying, Relays, server};
use crate::replicate::ReadAheadBudget;
use crate::replicate::ports::{Bounds, Queue as _, Source as _};
use crate::secrets::SecretStore;
use crate::status::PartitionGauge;
use crate::supervisor::testing::name;

const PATIENT: Duration = Duration::from_secs(30);
const CLUSTER: ClusterId = ClusterId(9);

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn spec(text: &str, address: SocketAddr) -> NodeSpec {
    NodeSpec { name: name(text), region: name(text), address: Some(address.to_string()), supports: CURRENT_VERSION }
}

/// A node that is called as its region.
async fn run(
    directory: &Path,
    node: NodeId,
    start: Start,
    text: &str,
    at: SocketAddr,
    others: Vec<(NodeId, SocketAddr)>,
) -> Group {
    let group = Group::start(Settings { start, ..Settings::new(directory, node) }, ProcessId(u128::from(node.0))).await;
    let group = group.unwrap();
    if others.is_empty() {
        agreed(&group, Command::Initialise { cluster: CLUSTER }).await;
    }
    let identity = Identity {
        cluster: Some(CLUSTER),
        node,
        name: name(text),
        region: name(text),
        command_version: CURRENT_VERSION,
    };
    let others = others.into_iter().map(|(node, at)| (node, name("qingdao"), at.to_string())).collect();
    let (listen, security, welcome) = (at, Security::Plain, Welcome::default());
    let settings = transport::Settings::default();
    let figures: causeway_cluster::Figures = Arc::new(Vec::new);
    group.connect(Network { listen, security, identity, others, welcome, figures, settings }).await.unwrap();
    let process = ProcessId(u128::from(node.0));
    agreed(&group, Command::StartNode { node, spec: spec(text, at), process }).await;
    group
}

async fn agreed(group: &Group, command: Command) -> Outcome {
    let began = Instant::now();
    loop {
        match group.propose(command.clone()).await {
            Ok(outcome) => return outcome,
            Err(error) => assert!(began.elapsed() < PATIENT, "{error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < PATIENT, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_beside_the_source_relays_it_to_the_owner_beside_the_target() {
    let stub = Stub::start(StubOptions::default()).await.unwrap();
    stub.store().create_topic("orders", 1);
    for number in 0..100 {
        stub.store().append("orders", 0, format!("message {number}").as_bytes(), b"").unwrap();
    }
    let directories = [(), (), ()].map(|()| tempfile::tempdir().unwrap());
    let [at, near_target] = [(), ()].map(|()| free_address());
    let found = Start::Found { voters: vec![NodeId(1)] };
    let one = run(directories[0].path(), NodeId(1), found, "qingdao", at, Vec::new()).await;
    let token = JoinToken { role: MemberRole::Learner, expires_at: Timestamp(i64::MAX) };
    agreed(&one, Command::IssueJoinToken { hash: [2; 32], token }).await;
    let asked = at.to_string();
    let joining = join::ask(&asked, [2; 32], spec("hohhot", near_target), Security::Plain, PATIENT);
    let joined = joining.await.unwrap();
    join::prepare(directories[1].path(), &joined).unwrap();
    one.change_member(MemberChange::AddLearner(joined.node)).await.unwrap();
    let others = vec![(NodeId(1), at)];
    let two = run(directories[1].path(), joined.node, Start::Join, "hohhot", near_target, others).await;
    let instance = InstanceSpec {
        name: name("qingdao"),
        region: name("qingdao"),
        name_servers: vec![stub.address()],
        credentials: None,
        tls: None,
    };
    agreed(&two, Command::PutInstance { spec: instance, identity: InstanceIdentity(5), expected: None }).await;
    eventually("both know the instance", || [&one, &two].iter().all(|node| !node.view().instances.is_empty())).await;

    let config = crate::config::NodeConfig::with_data_directory(directories[2].path()).unwrap();
    let secrets = Arc::new(SecretStore::open(directories[2].path()).unwrap());
    let instances = Arc::new(Instances::new(one.watch(), secrets, config.connection));
    let (settings, served) = (RelaySettings::default(), Arc::<Figures>::default());
    assert!(one.serve_streams(server(instances, one.watch(), 7, &settings, Arc::clone(&served))));

    let queue = QueueId { broker: "stub".to_owned(), queue: 0 };
    let partition = PartitionId { stream: StreamId(3), source: queue.clone() };
    let version = two.view().instances[&name("qingdao")].version;
    let topic = "orders".to_owned();
    let place = Place { instance: name("qingdao"), version, topic, queue, slave_reads: SlaveReads::MasterGone };
    let relays: Arc<dyn Relays> = Arc::new(Members::new(two.clone()));
    eventually("the relay is there", || relays.relays_for(&place, &partition) == [NodeId(1)]).await;
    assert!(Members::new(one.clone()).relays_for(&place, &partition).is_empty(), "it is near the source");
    let unknown = Place { instance: name("nowhere"), ..place.clone() };
    assert!(relays.relays_for(&unknown, &partition).is_empty());

    let read = Arc::<Figures>::default();
    let source = |place: Place| {
        let windows = Arc::new(ReadAheadBudget::new(settings.node_window_bytes));
        let (relays, figures) = (Arc::clone(&relays), Arc::clone(&read));
        let relayed = RelayedSource {
            relaying: Relaying { relays, windows, settings: settings.clone(), figures },
            place,
            partition: partition.clone(),
            gauge: Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0))),
            tag_expression: "*".to_owned(),
            target: InstanceIdentity(6),
            pull_messages: 1024,
        };
        RelaySource::new(Direct::unreachable(), relayed)
    };
    let relayed = source(place.clone());
    let mut next = 0;
    while next < 100 {
        for record in relayed.read(next, 1024, Duration::from_secs(5)).await.unwrap().records {
            assert_eq!((record.queue_offset, &record.body[..]), (next, format!("message {next}").as_bytes()));
            next += 1;
        }
    }
    assert_eq!(relayed.bounds().await, Ok(Bounds { minimum: 0, maximum: 100 }));
    assert_eq!(relayed.offset_at(0).await, Ok(100), "as a stub answers");
    let looked = relayed.read(7, 1, Duration::ZERO).await.unwrap();
    let followed = relayed.read(8, 1, Duration::from_secs(5)).await.unwrap();
    assert_eq!(looked.connection, followed.connection, "one client serves both");
    assert!(served.sample().batches > 0);
    assert_eq!(read.sample().failures, 0);
    let other_version = source(Place { version: version + 1, ..place });
    assert!(other_version.read(0, 1024, Duration::from_secs(5)).await.is_err());
    assert_eq!(read.sample().failures, 1);
    for group in [two, one] {
        group.stop().await.unwrap();
    }
}
