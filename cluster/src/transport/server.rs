//! Takes the connections that other nodes open.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::error::ConnectionError;
use super::handler::Handler;
use super::handshake::{Connection, Endpoint};
use super::hello::Purpose;
use super::inbound;
use super::pieces::Assemblies;
use super::refusal::{Refusal, RefusalCode};
use super::streams;

/// The wait after the operating system failed to give a connection: most often no file descriptor is left.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);
/// Connections that were not let in and are still remembered.
const REMEMBERED: usize = 32;

/// A connection that was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// When it ended.
    pub at: SystemTime,
    /// Where it came from.
    pub from: SocketAddr,
    /// Why.
    pub error: ConnectionError,
}

/// The newest connections that were not let in.
#[derive(Debug, Default)]
pub(crate) struct TurnedAwayList(Mutex<VecDeque<TurnedAway>>);

impl TurnedAwayList {
    fn add(&self, from: SocketAddr, error: ConnectionError) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() >= REMEMBERED {
            list.pop_front();
        }
        list.push_back(TurnedAway { at: SystemTime::now(), from, error });
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> Vec<TurnedAway> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// What every accepted connection needs.
pub(crate) struct Server<H> {
    endpoint: Arc<Endpoint>,
    handler: Arc<H>,
    assemblies: Arc<Assemblies>,
    turned_away: Arc<TurnedAwayList>,
    stop: watch::Receiver<bool>,
    /// Where byte streams are served.
    bulk: runtime::Handle,
    /// Bounds connections whose node is not known yet.
    handshakes: Arc<Semaphore>,
    /// Bounds all connections. Has room for those in their handshake too, so that strangers take nobody's place.
    connections: Arc<Semaphore>,
}

impl<H: Handler> Server<H> {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        handler: Arc<H>,
        turned_away: Arc<TurnedAwayList>,
        stop: watch::Receiver<bool>,
        bulk: runtime::Handle,
    ) -> Arc<Self> {
        let settings = &endpoint.settings;
        let handshakes = settings.handshakes.min(Semaphore::MAX_PERMITS / 2);
        let connections = settings.connections.min(Semaphore::MAX_PERMITS / 2).saturating_add(handshakes);
        Arc::new(Self {
            assemblies: Assemblies::new(settings.maximum_message_bytes, settings.message_time_limit),
            handshakes: Arc::new(Semaphore::new(handshakes)),
            connections: Arc::new(Semaphore::new(connections)),
            endpoint,
            handler,
            turned_away,
            stop,
            bulk,
        })
    }

    /// Takes connections until the transport stops. All of them have ended then.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&listener) => accepted,
                Some(_) = tasks.join_next() => continue,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((tcp, address, place)) => drop(tasks.spawn(Arc::clone(&self).serve(tcp, address, place))),
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection of another node");
                    sleep(AFTER_FAILED_ACCEPT).await;
                }
            }
        }
        drop(listener);
        while tasks.join_next().await.is_some() {}
    }

    /// Waits for a place in the handshakes before it takes a connection: what has none waits in the kernel.
    async fn accept(&self, listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.handshakes).acquire_owned().await.map_err(std::io::Error::other)?;
        let (tcp, address) = listener.accept().await?;
        Ok((tcp, address, place))
    }

    async fn serve(self: Arc<Self>, tcp: TcpStream, from: SocketAddr, place: OwnedSemaphorePermit) {
        let seat = Arc::clone(&self.connections).try_acquire_owned().ok();
        let admit = |peer: &_| match seat {
            Some(_) => self.handler.admit(peer),
            None => Err(Refusal::new(RefusalCode::Busy, "too many connections")),
        };
        let mut stop = self.stop.clone();
        let accepted = tokio::select! {
            accepted = self.endpoint.accept(tcp, from, admit) => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        drop(place);
        match accepted {
            Ok(connection) => {
                let node = connection.peer.identity.node;
                tracing::debug!(%node, %from, "a node connected");
                let ended = self.run_connection(connection, stop).await;
                match ended {
                    ConnectionError::Closed | ConnectionError::GivenUp => {
                        tracing::debug!(%node, %from, reason = %ended, "a node's connection ended");
                    }
                    _ => tracing::warn!(%node, %from, reason = %ended, "a node's connection ended"),
                }
            }
            // Whoever opens a connection and closes it again looks whether the port is open.
            Err(ConnectionError::Closed) => tracing::debug!(%from, "a connection was closed before anything was said"),
            Err(error) => {
                tracing::warn!(%from, %error, "a connection of another node was not let in");
                self.turned_away.add(from, error);
            }
        }
    }

    async fn run_connection(&self, connection: Connection, stop: watch::Receiver<bool>) -> ConnectionError {
        let (handler, settings) = (Arc::clone(&self.handler), &self.endpoint.settings);
        match connection.purpose {
            Purpose::Messages => inbound::run(connection, handler, settings, Arc::clone(&self.assemblies), stop).await,
            Purpose::Streams => {
                // A set of one task, which ends with it.
                let mut serving = JoinSet::new();
                serving.spawn_on(streams::serve(connection, handler, settings.clone(), stop), &self.bulk);
                serving.join_next().await.and_then(Result::ok).unwrap_or(ConnectionError::GivenUp)
            }
        }
    }
}
