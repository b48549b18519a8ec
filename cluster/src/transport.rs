//! How nodes of a cluster talk: frames over TCP with mutual TLS.
//!
//! Every node opens one connection to each of its peers, and sends on it Raft messages and requests; the answers come
//! back on it. What the peer sends by itself comes on the connection that the peer opened. Raft messages may be lost,
//! so they are dropped rather than waited for; a request is answered, or fails in time and says whether it may have
//! been handled.
//!
//! Reading order: [`Transport`] (what the rest of a node calls) and [`Handler`] (what it is called with);
//! `transport/frame.rs` (what travels), `hello.rs` and `handshake.rs` (who is let in), `tls.rs`, `registry.rs`;
//! `peer_link.rs`, `lanes.rs`, `outbound.rs` (to a peer); `server.rs`, `inbound.rs` (from a peer); `pieces.rs`,
//! `large.rs` (messages that are too large for one frame); [`streams`] (bulk, on connections of its own).
//!
//! Everything is bounded by [`Settings`]. Nothing here knows what the bytes mean.

mod backoff;
mod budget;
mod certificate;
mod error;
mod frame;
mod handler;
mod handshake;
mod hello;
mod inbound;
mod lanes;
mod large;
mod one_call;
mod outbound;
mod peer_link;
mod pem;
mod pieces;
mod private;
mod refusal;
mod registry;
mod server;
mod settings;
mod socket;
pub mod streams;
mod tls;
mod waiting;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use certificate::{CertificateProblem, NAME_SUFFIX, certificate_name};
pub use error::{ConnectionError, Error};
pub use frame::FrameError;
pub use handler::Handler;
pub use handshake::Security;
pub use hello::{Identity, PROTOCOL, Peer};
pub use lanes::Buffered;
pub use one_call::{Answer, Caller};
pub use peer_link::{LinkState, PeerAddress, PeerStatus};
pub use pem::TlsFileError;
pub use refusal::{Refusal, RefusalCode};
pub use server::TurnedAway;
pub use settings::Settings;
pub use tls::{Expiry, Tls, TlsFiles};

use handshake::Endpoint;
use large::Done;
use peer_link::{PeerLink, Unreachable};
use server::{Server, TurnedAwayList};
use streams::{Opening, Stream, Stripes};

/// The connections of one node. Dropping it ends them without waiting.
pub struct Transport {
    endpoint: Arc<Endpoint>,
    address: SocketAddr,
    peers: RwLock<BTreeMap<NodeId, Ways>>,
    unreachable: Unreachable,
    turned_away: Arc<TurnedAwayList>,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    /// Where the tasks run, so that a thread without a runtime can set peers.
    runtime: runtime::Handle,
    /// Where byte streams are read and served.
    bulk: runtime::Handle,
}

/// The ways to one peer.
#[derive(Clone)]
struct Ways {
    link: Arc<PeerLink>,
    stripes: Arc<Stripes>,
}

impl Transport {
    /// Listens on `address` and takes connections of other nodes. Must be called in a tokio runtime, where everything
    /// then runs, apart from byte streams: those are read and served in `bulk`, so that no Raft message waits for them.
    ///
    /// # Errors
    /// [`Error::Settings`], also for an identity or certificate that does not fit; [`Error::PlainBeyondLoopback`];
    /// [`Error::Bind`].
    pub async fn bind<H: Handler>(
        settings: Settings,
        security: Security,
        me: Identity,
        address: SocketAddr,
        handler: Arc<H>,
        bulk: runtime::Handle,
    ) -> Result<Self, Error> {
        if matches!(security, Security::Plain) && !address.ip().is_loopback() {
            return Err(Error::PlainBeyondLoopback { address });
        }
        let endpoint = Arc::new(Endpoint::new(settings, security, me)?);
        let bind = |error: std::io::Error| Error::Bind { address, reason: error.to_string() };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (stop, stopped) = watch::channel(false);
        let turned_away = Arc::<TurnedAwayList>::default();
        let (served, list) = (Arc::clone(&handler), Arc::clone(&turned_away));
        let server = Server::new(Arc::clone(&endpoint), served, list, stopped, bulk.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(listener));
        Ok(Self {
            endpoint,
            address,
            peers: RwLock::default(),
            unreachable: Arc::new(move |node| handler.unreachable(node)),
            turned_away,
            stop,
            tasks: Mutex::new(tasks),
            runtime: runtime::Handle::current(),
            bulk,
        })
    }

    /// Where it listens; with the port that was given when port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets who the peers are. Links to peers that stay live on, at a new address if it changed; links to others end.
    /// This node itself is passed over. After [`Transport::shutdown`] it does nothing.
    pub fn set_peers(&self, peers: BTreeMap<NodeId, PeerAddress>) {
        let mut known = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if *self.stop.borrow() {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        known.retain(|node, ways| {
            let stays = peers.contains_key(node);
            if !stays {
                ways.link.end();
                // Nobody waits for them: they end by themselves.
                drop(ways.stripes.end());
            }
            stays
        });
        for (node, at) in peers {
            if node == self.endpoint.me.identity.node {
                continue;
            }
            if let Some(ways) = known.get(&node) {
                ways.link.set_address(at.clone());
                ways.stripes.set_address(at);
                continue;
            }
            let stripes = Stripes::new(node, at.clone(), Arc::clone(&self.endpoint), self.bulk.clone());
            let (link, work) = PeerLink::new(node, at, Arc::clone(&self.endpoint), Arc::clone(&self.unreachable));
            tasks.spawn_on(work, &self.runtime);
            known.insert(node, Ways { link: Arc::new(link), stripes: Arc::new(stripes) });
        }
    }

    /// Sends a Raft message, or drops it: never waits. A message above [`Settings::whole_message_bytes`] travels in
    /// pieces and may be overtaken.
    ///
    /// # Errors
    /// [`Error::UnknownPeer`], [`Error::BufferFull`], [`Error::TooLarge`], [`Error::Stopped`]: the message is lost.
    /// A message that was taken may be lost as well.
    pub fn send_raft(&self, to: NodeId, message: Vec<u8>) -> Result<(), Error> {
        self.ways(to)?.link.send_raft(message)
    }

    /// Sends a Raft message that holds a snapshot, in pieces. `done` is told exactly once what became of it: taken by
    /// the other side's [`Handler::raft`], or failed. It may be called before this returns, and must not block.
    pub fn send_snapshot(&self, to: NodeId, message: Vec<u8>, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let done = Done::new(done);
        match self.ways(to) {
            Ok(ways) => ways.link.send_snapshot(message, done),
            Err(error) => done.tell(Err(error)),
        }
    }

    /// Asks a peer and waits for its answer. While there is no connection, the request waits for the attempt that runs.
    ///
    /// # Errors
    /// See [`Error::outcome_is_unknown`] for whether the other side may have handled it.
    pub async fn request(&self, to: NodeId, body: Vec<u8>, limit: Duration) -> Result<Vec<u8>, Error> {
        self.ways(to)?.link.request(body, limit).await
    }

    /// Asks whoever answers at `address` (`host:port`), over a connection for this one request. Without
    /// `expected_name`, any node with a certificate of the authority may answer.
    ///
    /// # Errors
    /// As [`Transport::request`].
    pub async fn request_at(
        &self,
        address: &str,
        expected_name: Option<Name>,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Answer, Error> {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            answer = one_call::request_at(&self.endpoint, address, expected_name, body, limit) => answer,
            _ = stop.wait_for(|stop| *stop) => Err(Error::Stopped),
        }
    }

    /// Opens a byte stream to this node, which the peer's [`Handler::serve_stream`] serves; never waits. What keeps it
    /// from being opened later is told as its end.
    ///
    /// # Errors
    /// [`Error::UnknownPeer`], [`Error::TooLarge`], [`Error::BufferFull`], [`Error::Stopped`]: nothing was sent.
    pub fn open_stream(&self, to: NodeId, opening: Opening) -> Result<Stream, Error> {
        self.ways(to)?.stripes.open(opening)
    }

    /// One look at the way to each peer.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<NodeId, PeerStatus> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().filter_map(|(node, ways)| Some((*node, ways.link.status()?))).collect()
    }

    /// The newest connections that were not let in, oldest first; at most 32.
    #[must_use]
    pub fn turned_away(&self) -> Vec<TurnedAway> {
        self.turned_away.all()
    }

    /// Ends all connections and waits until every task has ended. Requests that wait fail.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut streams = Vec::new();
        for ways in std::mem::take(&mut *self.peers.write().unwrap_or_else(PoisonError::into_inner)).into_values() {
            ways.link.end();
            streams.push(ways.stripes.end());
        }
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for mut tasks in streams.into_iter().chain([tasks]) {
            while tasks.join_next().await.is_some() {}
        }
    }

    fn ways(&self, to: NodeId) -> Result<Ways, Error> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        match peers.get(&to) {
            Some(ways) => Ok(ways.clone()),
            None if *self.stop.borrow() => Err(Error::Stopped),
            None => Err(Error::UnknownPeer { node: to }),
        }
    }
}
