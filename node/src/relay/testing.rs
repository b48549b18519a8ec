//! Two nodes over loopback for tests: one that relays a queue in memory, and one that reads it through the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use causeway_cluster::StreamServer as _;
use causeway_cluster::transport::streams::{NotServed, Opening, Stream, StreamSender};
use causeway_cluster::transport::{Error, Handler, Identity, Peer, PeerAddress, Security, Settings, Transport};
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{ClusterId, Epoch, InstanceIdentity, NodeId, StreamId, Timestamp};
use causeway_core::name::Name;
use causeway_core::partition::{PartitionId, QueueId};
use causeway_core::stream::SlaveReads;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::figures::{Figures, Sample};
use super::serve::{Origins, Server};
use super::source::RelaySource;
use super::wire::Refusal;
use super::{Place, RelaySettings, RelayedSource, Relaying, Relays};
use crate::replicate::ReadAheadBudget;
use crate::replicate::memory::MemoryQueue;
use crate::replicate::ports::{Bounds, Queue, Read, Source};
use crate::replicate::trouble::Trouble;
use crate::status::PartitionGauge;

pub(crate) const OWNER: NodeId = NodeId(1);
pub(crate) const RELAY: NodeId = NodeId(2);

/// The queue itself, as whoever reads it directly does.
#[derive(Clone)]
pub(crate) struct Direct {
    queue: MemoryQueue,
    reads: Arc<AtomicU64>,
    pub(crate) fails: Arc<AtomicBool>,
}

impl Direct {
    /// One that nobody reaches directly.
    pub(crate) fn unreachable() -> Self {
        Self { queue: MemoryQueue::default(), reads: Arc::default(), fails: Arc::new(AtomicBool::new(true)) }
    }

    fn check(&self) -> Result<(), Trouble> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err(Trouble::new(ErrorCode::Unreachable, "the source cannot be reached from here"));
        }
        Ok(())
    }
}

impl Queue for Direct {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        self.check()?;
        self.queue.read(offset, maximum_messages, wait).await
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        self.check()?;
        self.queue.bounds().await
    }
}

impl Source for Direct {
    async fn offset_at(&self, timestamp: i64) -> Result<i64, Trouble> {
        self.check()?;
        self.queue.offset_at(timestamp).await
    }
}

/// Gives the queue to whoever asks, or refuses.
struct Memory {
    queue: MemoryQueue,
    refusal: Arc<Mutex<Option<Refusal>>>,
}

impl Origins for Memory {
    type Source = MemoryQueue;

    async fn open(&self, place: &Place) -> Result<MemoryQueue, Refusal> {
        assert_eq!(place.topic, "orders");
        match self.refusal.lock().unwrap().clone() {
            Some(refusal) => Err(refusal),
            None => Ok(self.queue.clone()),
        }
    }
}

/// A node that serves, or does not.
struct Serving(Option<Server<Memory>>);

impl Handler for Serving {
    fn raft(&self, _from: NodeId, _message: Vec<u8>) {}

    async fn request(&self, _from: Arc<Peer>, body: Vec<u8>) -> Vec<u8> {
        body
    }

    async fn serve_stream(&self, from: Arc<Peer>, opening: Bytes, sender: StreamSender) -> Result<(), NotServed> {
        match &self.0 {
            Some(server) => server.serve(from, opening, sender).await,
            None => Err(NotServed::Anybody),
        }
    }

    fn unreachable(&self, _to: NodeId) {}
}

async fn node(id: NodeId, at: SocketAddr, server: Option<Server<Memory>>) -> Arc<Transport> {
    let name = name(id);
    let me = Identity { cluster: Some(ClusterId(7)), node: id, name: name.clone(), region: name, command_version: 1 };
    let settings = Settings {
        handshake_timeout: Duration::from_secs(4),
        ping_every: Duration::from_millis(100),
        dead_after: Duration::from_secs(2),
        ..Settings::default()
    };
    let handler = Arc::new(Serving(server));
    Arc::new(Transport::bind(settings, Security::Plain, me, at, handler, Handle::current()).await.unwrap())
}

fn name(id: NodeId) -> Name {
    Name::new(format!("node-{id}")).unwrap()
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The owner's way to the node that relays.
struct Peers {
    owner: Arc<Transport>,
    nodes: Mutex<Vec<NodeId>>,
}

impl Relays for Peers {
    fn relays_for(&self, _source: &Place, _partition: &PartitionId) -> Vec<NodeId> {
        self.nodes.lock().unwrap().clone()
    }

    fn open(&self, node: NodeId, opening: Opening) -> Result<Stream, Error> {
        self.owner.open_stream(node, opening)
    }
}

/// Both nodes.
pub(crate) struct Pair {
    pub(crate) queue: MemoryQueue,
    pub(crate) direct: Direct,
    pub(crate) relay: Arc<Transport>,
    pub(crate) windows: Arc<ReadAheadBudget>,
    pub(crate) settings: RelaySettings,
    owner: Arc<Transport>,
    peers: Arc<Peers>,
    refusal: Arc<Mutex<Option<Refusal>>>,
    served: Arc<Figures>,
    read: Arc<Figures>,
    pub(crate) gauge: Arc<PartitionGauge>,
}

pub(crate) fn settings() -> RelaySettings {
    RelaySettings {
        retry_first: Duration::from_millis(2),
        direct_first: Duration::from_millis(50),
        direct_longest: Duration::from_millis(200),
        ..RelaySettings::default()
    }
}

impl Pair {
    /// A node that relays `queue`, and one that knows it.
    pub(crate) async fn new(queue: MemoryQueue, settings: RelaySettings) -> Self {
        let (served, refusal) = (Arc::<Figures>::default(), Arc::<Mutex<Option<Refusal>>>::default());
        let owner = node(OWNER, anywhere(), None).await;
        let peers = Arc::new(Peers { owner: Arc::clone(&owner), nodes: Mutex::new(vec![RELAY]) });
        let direct = Direct { queue: queue.clone(), reads: Arc::default(), fails: Arc::default() };
        let origins = Memory { queue: queue.clone(), refusal: Arc::clone(&refusal) };
        let server = Server::new(origins, 1, &settings, Arc::clone(&served));
        let relay = node(RELAY, anywhere(), Some(server)).await;
        let windows = Arc::new(ReadAheadBudget::new(settings.node_window_bytes));
        let (read, gauge) = (Arc::default(), Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0))));
        let pair = Self { queue, direct, relay, windows, settings, owner, peers, refusal, served, read, gauge };
        pair.reach(&pair.relay.address().to_string());
        pair
    }

    /// The relay is looked for at this address.
    pub(crate) fn reach(&self, address: &str) {
        let at = PeerAddress { name: name(RELAY), address: address.to_owned() };
        self.owner.set_peers(BTreeMap::from([(RELAY, at)]));
    }

    /// The relay is started again, as another process.
    pub(crate) async fn start_relay_again(&mut self) {
        let origins = Memory { queue: self.queue.clone(), refusal: Arc::clone(&self.refusal) };
        let server = Server::new(origins, 2, &self.settings, Arc::clone(&self.served));
        self.relay = node(RELAY, self.relay.address(), Some(server)).await;
    }

    /// The node in the relay's place serves no streams.
    pub(crate) async fn replace_relay(&mut self) {
        self.relay.shutdown().await;
        self.relay = node(RELAY, self.relay.address(), None).await;
    }

    pub(crate) fn refuse(&self, refusal: Option<Refusal>) {
        *self.refusal.lock().unwrap() = refusal;
    }

    pub(crate) fn know(&self, nodes: &[NodeId]) {
        *self.peers.nodes.lock().unwrap() = nodes.to_vec();
    }

    /// The queue as the owner reads it.
    pub(crate) fn source(&self, tag_expression: &str) -> RelaySource<Direct> {
        let place = Place {
            instance: Name::new("qingdao").unwrap(),
            version: 1,
            topic: "orders".to_owned(),
            queue: QueueId { broker: "broker-a".to_owned(), queue: 0 },
            slave_reads: SlaveReads::MasterGone,
        };
        let relays: Arc<dyn Relays> = self.peers.clone();
        let relayed = RelayedSource {
            relaying: Relaying {
                relays,
                windows: Arc::clone(&self.windows),
                settings: self.settings.clone(),
                figures: Arc::clone(&self.read),
            },
            partition: PartitionId { stream: StreamId(3), source: place.queue.clone() },
            place,
            gauge: Arc::clone(&self.gauge),
            tag_expression: tag_expression.to_owned(),
            target: InstanceIdentity(0xb),
            pull_messages: 1024,
        };
        RelaySource::new(self.direct.clone(), relayed)
    }

    /// What the relay did.
    pub(crate) fn served(&self) -> Sample {
        self.served.sample()
    }

    /// What the owner did.
    pub(crate) fn figures(&self) -> Sample {
        self.read.sample()
    }

    pub(crate) fn direct_reads(&self) -> u64 {
        self.direct.reads.load(Ordering::Relaxed)
    }
}

/// Stands before the relay and cuts each connection after a number of bytes towards the owner, or holds every byte up.
pub(crate) struct Cutter {
    pub(crate) address: String,
    pub(crate) cuts: Arc<AtomicU64>,
}

impl Cutter {
    /// `after` says for each connection how many bytes pass, and `delay` how long each read of them is held up.
    pub(crate) async fn to(
        target: SocketAddr,
        mut after: impl FnMut() -> u64 + Send + 'static,
        delay: Duration,
    ) -> Self {
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cuts = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&cuts);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (mut left, cuts) = (after(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
                        (near.into_split(), far.into_split());
                    let there = async move { tokio::io::copy(&mut near_read, &mut far_write).await };
                    let back = async move {
                        let mut buffer = vec![0; 64 * 1024];
                        while left > 0 {
                            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                            let Ok(read) = far_read.read(&mut buffer[..most]).await else { return };
                            tokio::time::sleep(delay).await;
                            if read == 0 || near_write.write_all(&buffer[..read]).await.is_err() {
                                return;
                            }
                            left -= u64::try_from(read).unwrap();
                        }
                        cuts.fetch_add(1, Ordering::Relaxed);
                    };
                    tokio::select! {
                        _ = there => {}
                        () = back => {}
                    }
                });
            }
        });
        Self { address, cuts }
    }
}

/// Numbers that look random and are the same each time.
pub(crate) fn numbers(seed: u64) -> impl FnMut() -> u64 + Send + 'static {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
