//! A proxy that misbehaves on request, between two processes on loopback.
//!
//! Each connection has one pump per direction (see `pump`); faults are settings that all pumps of a direction share and
//! that take effect at once, on open connections too. It forwards bytes, never interprets a message: frames are only
//! recognised by their length prefix, so that a fault can strike inside one.

mod faults;
mod junction;
mod pump;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use faults::Faults;
pub use junction::Junction;

/// Which way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client that connected to the server behind the proxy.
    ToServer,
    /// Back.
    ToClient,
}

/// A running proxy. Dropping it cuts every connection.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    acceptor: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on `listen` (port 0 for any) and forwards to `upstream`, which need not be up yet.
    ///
    /// # Panics
    /// When an address is none or cannot be bound.
    pub fn start(listen: &str, upstream: &str) -> Self {
        let listener = TcpListener::bind(listen).unwrap_or_else(|error| panic!("cannot listen on {listen}: {error}"));
        let upstream = upstream.parse().unwrap_or_else(|error| panic!("{upstream} is no address: {error}"));
        let address = listener.local_addr().unwrap();
        let faults = Arc::new(Faults::new(upstream));
        let acceptor = Some(spawn({
            let faults = faults.clone();
            move || accept(&listener, |_| Arc::clone(&faults))
        }));
        Self { address, faults, acceptor }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections elsewhere, as when a broker moved; open ones stay.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.faults.change(|state| state.upstream = upstream);
    }

    /// Delivers every byte this much later. Bytes under way are bounded by [`FaultProxy::set_in_flight`].
    pub fn set_delay(&self, direction: Direction, delay: Duration) {
        self.faults.change(|state| state.lane(direction).delay = delay);
    }

    /// How many bytes per connection may be under way inside the proxy before it stops reading; 1 MiB at first.
    pub fn set_in_flight(&self, direction: Direction, bytes: usize) {
        self.faults.change(|state| state.lane(direction).in_flight = bytes.max(1));
    }

    /// At most this many bytes per second and connection; `None` for no limit.
    pub fn set_bandwidth(&self, direction: Direction, bytes_per_second: Option<u64>) {
        self.faults.change(|state| state.lane(direction).bandwidth = bytes_per_second);
    }

    /// Delivers nothing this way, with connections left open, until `false` is set. The other way goes on.
    pub fn set_stalled(&self, direction: Direction, stalled: bool) {
        self.faults.change(|state| state.lane(direction).stalled = stalled);
    }

    /// Closes new connections as soon as they are accepted.
    pub fn set_refusing(&self, refusing: bool) {
        self.faults.change(|state| state.refusing = refusing);
    }

    /// Cuts every open connection now; what is under way is lost.
    pub fn cut(&self) {
        self.faults.cut();
    }

    /// Lets the next frame of any connection pass for `bytes` bytes (its length prefix is 4 of them) and then cuts that
    /// connection. Strikes once.
    pub fn close_mid_frame(&self, direction: Direction, bytes: u64) {
        self.faults.change(|state| state.lane(direction).close_after = Some(bytes.max(1)));
    }

    /// Delivers `bytes` instead of the start of the next frame of any connection, ahead of it. Strikes once. Four bytes
    /// `7f ff ff ff` announce a frame of 2 GiB.
    pub fn inject(&self, direction: Direction, bytes: &[u8]) {
        self.faults.change(|state| state.lane(direction).garbage = Some(bytes.to_vec()));
    }

    /// Whether a one-time fault of this direction is still waiting for a frame.
    pub fn is_armed(&self, direction: Direction) -> bool {
        self.faults
            .change(|state| state.lane(direction).close_after.is_some() || state.lane(direction).garbage.is_some())
    }

    /// Ends all faults; connections stay.
    pub fn heal(&self) {
        self.faults.change(faults::State::heal);
    }

    /// How many connections were accepted since the start, refused ones included.
    pub fn connections_accepted(&self) -> u64 {
        self.faults.change(|state| state.accepted)
    }

    /// How many connections are open now.
    pub fn connections_open(&self) -> usize {
        self.faults.change(|state| state.connections.len())
    }

    /// How many bytes were delivered in a direction, over all connections.
    pub fn bytes_delivered(&self, direction: Direction) -> u64 {
        self.faults.change(|state| state.lane(direction).delivered)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.faults.change(|state| state.ended = true);
        self.faults.cut();
        // Accepting blocks; a connection of our own lets it see that the end has come.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, choose: impl Fn(SocketAddr) -> Arc<Faults>) {
    loop {
        let Ok((client, from)) = listener.accept() else { continue };
        let faults = choose(from);
        if faults.change(|state| state.ended) {
            return;
        }
        let (refusing, upstream) = faults.change(|state| {
            state.accepted += 1;
            (state.refusing, state.upstream)
        });
        if refusing {
            continue;
        }
        // Connecting may take its time; other clients must not wait for it.
        spawn(move || {
            let Ok(server) = TcpStream::connect_timeout(&upstream, Duration::from_secs(5)) else { return };
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            let (Ok(a), Ok(b)) = (client.try_clone(), server.try_clone()) else { return };
            let Some(id) = faults.open(a, b) else { return };
            let (Ok(client_2), Ok(server_2)) = (client.try_clone(), server.try_clone()) else { return };
            let forward = spawn({
                let faults = faults.clone();
                move || pump::run(&client, &server, Direction::ToServer, &faults, id)
            });
            pump::run(&server_2, &client_2, Direction::ToClient, &faults, id);
            let _ = forward.join();
            faults.close(id);
        });
    }
}
