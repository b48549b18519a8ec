//! A node for tests: a transport and a handler that remembers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use causeway_cluster::transport::streams::{NotServed, Opening, Stream, StreamSender};
use causeway_cluster::transport::{
    ConnectionError, Error, Handler, Identity, LinkState, Peer, PeerAddress, Refusal, RefusalCode, Security, Settings,
    Transport,
};
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// Long enough for a machine that does other things as well; no test waits for it when all is well.
pub(crate) const PATIENT: Duration = Duration::from_secs(30);

/// Remembers Raft messages. Answers a request with its body behind "re:", except for a few words.
#[derive(Default)]
pub(crate) struct Memory {
    raft: Mutex<Vec<(NodeId, Vec<u8>)>>,
    pub(crate) begun: AtomicUsize,
    pub(crate) unreachable: AtomicUsize,
    pub(crate) not_admitted: Mutex<Option<NodeId>>,
    /// Streams that are being served, messages that were sent on all of them, and their bytes.
    pub(crate) serving: AtomicUsize,
    pub(crate) sent: AtomicUsize,
    pub(crate) sent_bytes: AtomicUsize,
}

/// A stream is being served as long as this lives.
struct Serving<'a>(&'a AtomicUsize);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A message of a stream: its number, and as many bytes as are asked for.
pub(crate) fn numbered(number: u64, bytes: usize) -> Bytes {
    let mut message = number.to_be_bytes().to_vec();
    message.resize(bytes.max(8), u8::try_from(number % 251).unwrap());
    message.into()
}

impl Handler for Memory {
    fn raft(&self, from: NodeId, message: Vec<u8>) {
        self.raft.lock().unwrap().push((from, message));
    }

    async fn request(&self, _from: Arc<Peer>, body: Vec<u8>) -> Vec<u8> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        match &body[..] {
            b"never" => std::future::pending().await,
            b"panic" => panic!("asked for"),
            b"huge" => vec![0; 64 << 20],
            _ => [b"re:", &body[..]].concat(),
        }
    }

    /// An opening says how many messages of how many bytes are wanted, or one of a few words.
    async fn serve_stream(&self, _from: Arc<Peer>, opening: Bytes, mut sender: StreamSender) -> Result<(), NotServed> {
        self.serving.fetch_add(1, Ordering::Relaxed);
        let _serving = Serving(&self.serving);
        match &opening[..] {
            b"unknown" => return Err(NotServed::Anybody),
            b"panic" => panic!("asked for"),
            b"never" => std::future::pending().await,
            _ => {}
        }
        let wanted: Vec<u64> = String::from_utf8_lossy(&opening).split(' ').map(|word| word.parse().unwrap()).collect();
        for number in 0..wanted[0] {
            let message = numbered(number, usize::try_from(wanted[1]).unwrap());
            let bytes = message.len();
            if sender.send(message).await.is_err() {
                break;
            }
            self.sent.fetch_add(1, Ordering::Relaxed);
            self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    fn unreachable(&self, _to: NodeId) {
        self.unreachable.fetch_add(1, Ordering::Relaxed);
    }

    fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        if *self.not_admitted.lock().unwrap() == Some(peer.identity.node) {
            return Err(Refusal::new(RefusalCode::Removed, "the node was removed"));
        }
        Ok(())
    }
}

pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) transport: Arc<Transport>,
    pub(crate) memory: Arc<Memory>,
}

pub(crate) fn settings() -> Settings {
    Settings {
        handshake_timeout: Duration::from_secs(4),
        ping_every: Duration::from_millis(100),
        dead_after: Duration::from_secs(2),
        first_backoff: Duration::from_millis(5),
        longest_backoff: Duration::from_millis(100),
        ..Settings::default()
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn identity(id: u64, text: &str) -> Identity {
    let cluster = (id != 0).then_some(ClusterId(7));
    Identity { cluster, node: NodeId(id), name: name(text), region: name("eu"), command_version: 1 }
}

pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Node {
    pub(crate) async fn plain(id: u64, text: &str) -> Self {
        Self::new(settings(), Security::Plain, identity(id, text), anywhere()).await
    }

    pub(crate) async fn tls(id: u64, text: &str, security: Security) -> Self {
        Self::new(settings(), security, identity(id, text), anywhere()).await
    }

    pub(crate) async fn new(settings: Settings, security: Security, me: Identity, at: SocketAddr) -> Self {
        let memory = Arc::<Memory>::default();
        let name = me.name.clone();
        let bound = Transport::bind(settings, security, me, at, Arc::clone(&memory), Handle::current()).await;
        Self { name, transport: Arc::new(bound.unwrap()), memory }
    }

    pub(crate) fn address(&self) -> String {
        self.transport.address().to_string()
    }

    pub(crate) fn at(&self) -> PeerAddress {
        PeerAddress { name: self.name.clone(), address: self.address() }
    }

    pub(crate) fn know(&self, peers: &[(NodeId, PeerAddress)]) {
        self.transport.set_peers(BTreeMap::from_iter(peers.iter().cloned()));
    }

    pub(crate) async fn ask(&self, to: NodeId, body: &[u8]) -> Result<Vec<u8>, Error> {
        self.transport.request(to, body.to_vec(), PATIENT).await
    }

    /// Opens a stream of so many messages of so many bytes.
    pub(crate) fn open(&self, to: NodeId, messages: u64, bytes: usize, window: usize) -> Stream {
        self.open_with(to, &format!("{messages} {bytes}"), 7, window)
    }

    pub(crate) fn open_with(&self, to: NodeId, words: &str, stripe_key: u64, window: usize) -> Stream {
        let body = Bytes::copy_from_slice(words.as_bytes());
        self.transport.open_stream(to, Opening { body, stripe_key, window }).unwrap()
    }

    pub(crate) fn state(&self, of: NodeId) -> LinkState {
        self.transport.peers()[&of].state.clone()
    }

    pub(crate) fn heard(&self) -> Vec<(NodeId, Vec<u8>)> {
        self.memory.raft.lock().unwrap().clone()
    }

    pub(crate) async fn connected(&self, to: NodeId) -> Arc<Peer> {
        eventually("connected", || match self.state(to) {
            LinkState::Connected { peer, .. } => Some(peer),
            _ => None,
        })
        .await
    }

    /// Why there is no connection to a peer.
    pub(crate) async fn failure(&self, to: NodeId) -> ConnectionError {
        eventually("no connection", || self.transport.peers()[&to].last_error.clone()).await
    }

    /// Why a connection was not let in.
    pub(crate) async fn turned_away(&self) -> ConnectionError {
        eventually("turned away", || self.transport.turned_away().last().map(|last| last.error.clone())).await
    }
}

/// Waits until there is something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENT, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
