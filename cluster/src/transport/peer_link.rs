//! The way to one peer: one connection that this node opened, made again whenever it ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::error::{ConnectionError, Error};
use super::handshake::Endpoint;
use super::hello::{Expected, Peer, Purpose};
use super::lanes::{Buffered, LaneSender, Lanes, lanes};
use super::large::Done;
use super::outbound;
use super::refusal::Refusal;
use super::waiting::Waiting;

/// Where a peer is, and who has to answer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its name; its certificate has to carry it.
    pub name: Name,
    /// `host:port`. Resolved at each attempt to connect.
    pub address: String,
}

/// The state of the way to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// The first attempt to connect runs.
    Connecting,
    /// There is a connection.
    Connected {
        /// Since when.
        since: SystemTime,
        /// Who answers.
        peer: Arc<Peer>,
    },
    /// The other side does not want the connection, in its own words. Tried again with back-off.
    Refused(Refusal),
    /// There is no connection. Tried again with back-off.
    Disconnected(ConnectionError),
}

impl LinkState {
    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }
}

/// One look at the way to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Where it is looked for.
    pub at: PeerAddress,
    /// The state of the connection.
    pub state: LinkState,
    /// Why the connection before this one ended, or the last attempt failed.
    pub last_error: Option<ConnectionError>,
    /// What waits for it.
    pub buffered: Buffered,
}

/// Hears that a peer is out of reach.
pub(crate) type Unreachable = Arc<dyn Fn(NodeId) + Send + Sync>;

/// The handle of a link.
#[derive(Debug)]
pub(crate) struct PeerLink {
    /// None ends the link.
    at: watch::Sender<Option<PeerAddress>>,
    lanes: LaneSender,
    waiting: Arc<Waiting>,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Debug)]
struct Shown {
    state: LinkState,
    last_error: Option<ConnectionError>,
}

/// The task of a link.
pub(crate) struct Link {
    node: NodeId,
    endpoint: Arc<Endpoint>,
    lanes: Lanes,
    waiting: Arc<Waiting>,
    shown: Arc<Mutex<Shown>>,
    unreachable: Unreachable,
    backoff: Backoff,
}

impl PeerLink {
    /// A handle and the future that does its work.
    pub(crate) fn new(
        node: NodeId,
        at: PeerAddress,
        endpoint: Arc<Endpoint>,
        unreachable: Unreachable,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = lanes(&endpoint.settings);
        let (at, moved) = watch::channel(Some(at));
        let waiting = Arc::<Waiting>::default();
        let shown = Arc::new(Mutex::new(Shown { state: LinkState::Connecting, last_error: None }));
        let link = Link {
            node,
            backoff: Backoff::new(&endpoint.settings),
            endpoint,
            lanes: receiver,
            waiting: Arc::clone(&waiting),
            shown: Arc::clone(&shown),
            unreachable,
        };
        (Self { at, lanes: sender, waiting, shown }, link.run(moved))
    }

    /// Changes where the peer is looked for. A connection to another address or name ends.
    pub(crate) fn set_address(&self, address: PeerAddress) {
        self.set(Some(address));
    }

    /// Ends the link; calls that wait fail, although they still hold the handle.
    pub(crate) fn end(&self) {
        self.set(None);
    }

    fn set(&self, address: Option<PeerAddress>) {
        self.at.send_if_modified(|at| {
            let changed = *at != address;
            *at = address;
            changed
        });
    }

    pub(crate) fn send_raft(&self, message: Vec<u8>) -> Result<(), Error> {
        self.lanes.raft(message)
    }

    pub(crate) fn send_snapshot(&self, message: Vec<u8>, done: Done) {
        self.lanes.snapshot(message, done);
    }

    pub(crate) async fn request(&self, body: Vec<u8>, limit: Duration) -> Result<Vec<u8>, Error> {
        let (answer, asked) = oneshot::channel();
        let id = self.lanes.request(body, answer)?;
        // Dropped after `asked`, also when this call is given up: see `Waiting::send`.
        let _forget = Forget { waiting: &self.waiting, id };
        match timeout(limit, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(Error::Timeout { waited: limit }),
        }
    }

    /// One look; none after the end.
    pub(crate) fn status(&self) -> Option<PeerStatus> {
        let at = self.at.borrow().clone()?;
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, last_error) = (shown.state.clone(), shown.last_error.clone());
        Some(PeerStatus { at, state, last_error, buffered: self.lanes.buffered() })
    }
}

/// Takes a request out of the list when nobody waits for it any more.
struct Forget<'a> {
    waiting: &'a Waiting,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.forget(self.id);
    }
}

impl Link {
    async fn run(mut self, mut at: watch::Receiver<Option<PeerAddress>>) {
        loop {
            let Some(target) = at.borrow_and_update().clone() else { return };
            let ended = tokio::select! {
                ended = self.connect_and_run(&target) => ended,
                moved = at.changed() => {
                    if moved.is_err() {
                        return;
                    }
                    self.interrupted(&ConnectionError::GivenUp);
                    self.backoff.reset();
                    continue;
                }
            };
            self.lost(ended);
            match timeout(self.backoff.next(), at.changed()).await {
                Err(_) => {}
                Ok(Ok(())) => self.backoff.reset(),
                Ok(Err(_)) => return,
            }
        }
    }

    /// Connects once and keeps the connection as long as it lives.
    async fn connect_and_run(&mut self, target: &PeerAddress) -> ConnectionError {
        let expected = Expected { node: Some(self.node), name: Some(target.name.clone()) };
        let connection = match self.endpoint.dial(&target.address, &expected, Purpose::Messages).await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        tracing::info!(node = %self.node, address = target.address, "connected to a node");
        let begun = Instant::now();
        self.show(|shown| {
            shown.state = LinkState::Connected { since: SystemTime::now(), peer: Arc::clone(&connection.peer) };
        });
        let settings = &self.endpoint.settings;
        let ended = outbound::run(connection, &mut self.lanes, &self.waiting, settings.ping_every).await;
        // A connection that ends at once again and again must not be made again at once.
        if begun.elapsed() >= settings.longest_backoff {
            self.backoff.reset();
        }
        ended
    }

    fn lost(&mut self, error: ConnectionError) {
        self.interrupted(&error);
        self.lanes.discard(&error);
        let state = match &error {
            ConnectionError::Refused(refusal) => LinkState::Refused(refusal.clone()),
            other => LinkState::Disconnected(other.clone()),
        };
        let mut known = false;
        self.show(|shown| {
            known = shown.state == state;
            *shown = Shown { state, last_error: Some(error.clone()) };
        });
        if known {
            tracing::debug!(node = %self.node, %error, "still no connection to a node");
        } else {
            tracing::warn!(node = %self.node, %error, "no connection to a node");
        }
        (self.unreachable)(self.node);
    }

    /// Fails what was sent and not answered.
    fn interrupted(&mut self, error: &ConnectionError) {
        self.waiting.fail(&Error::Interrupted(error.clone()));
        self.lanes.in_flight().end(Err(Error::Interrupted(error.clone())));
    }

    fn show(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// However the task ends, nobody waits for an answer that cannot come. What was not sent is told by being dropped.
impl Drop for Link {
    fn drop(&mut self) {
        self.interrupted(&ConnectionError::GivenUp);
    }
}
