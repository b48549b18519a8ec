//! A proxy in front of one server whose clients come different ways: each way has faults of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::faults::{Faults, State};
use super::{Direction, accept};

/// A running proxy. Dropping it cuts every connection.
#[derive(Debug)]
pub struct Junction {
    address: SocketAddr,
    ways: Vec<Arc<Faults>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Junction {
    /// Listens on any port of loopback and forwards to `upstream`, which need not be up yet. `way` tells by the address
    /// of a new client which of `ways` ways it comes.
    ///
    /// # Panics
    /// When `upstream` is no address.
    pub fn start(upstream: &str, ways: usize, way: impl Fn(SocketAddr) -> usize + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("cannot listen: {error}"));
        let upstream = upstream.parse().unwrap_or_else(|error| panic!("{upstream} is no address: {error}"));
        let address = listener.local_addr().unwrap();
        let ways: Vec<_> = (0..ways).map(|_| Arc::new(Faults::new(upstream))).collect();
        let chosen = ways.clone();
        let choose = move |client: SocketAddr| Arc::clone(&chosen[way(client)]);
        let acceptor = Some(spawn(move || accept(&listener, choose)));
        Self { address, ways, acceptor }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Delivers every byte of a way this much later, in both directions.
    pub fn set_delay(&self, way: usize, delay: Duration) {
        self.ways[way].change(|state| {
            state.lane(Direction::ToServer).delay = delay;
            state.lane(Direction::ToClient).delay = delay;
        });
    }

    /// Delivers nothing on a way in one direction, with connections left open, until `false` is set.
    pub fn set_stalled(&self, way: usize, direction: Direction, stalled: bool) {
        self.ways[way].change(|state| state.lane(direction).stalled = stalled);
    }

    /// How many connections were accepted on a way.
    pub fn connections_accepted(&self, way: usize) -> u64 {
        self.ways[way].change(|state: &mut State| state.accepted)
    }
}

impl Drop for Junction {
    fn drop(&mut self) {
        self.ways.iter().for_each(|way| way.change(|state| state.ended = true));
        self.ways.iter().for_each(|way| way.cut());
        // Accepting blocks; a connection of our own lets it see that the end has come.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;
    use std::thread::spawn;
    use std::time::{Duration, Instant};

    use super::{Direction, Junction};

    /// A server that sends back what it gets.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        spawn(move || {
            for client in listener.incoming().flatten() {
                spawn(move || {
                    let mut byte = [0];
                    while (&client).read_exact(&mut byte).is_ok() && (&client).write_all(&byte).is_ok() {}
                });
            }
        });
        address.to_string()
    }

    #[test]
    fn each_way_has_its_own_delay_and_its_own_stall() {
        let turns = Mutex::new([0, 1].into_iter().cycle());
        let junction = Junction::start(&echo(), 2, move |_| turns.lock().unwrap().next().unwrap());
        junction.set_delay(1, Duration::from_millis(50));
        let clients = [0, 1].map(|way| {
            let client = TcpStream::connect(junction.address()).unwrap();
            client.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
            let trip = |mut client: &TcpStream| {
                let began = Instant::now();
                client.write_all(&[7]).unwrap();
                client.read_exact(&mut [0]).map(|()| began.elapsed())
            };
            let took = trip(&client).unwrap();
            assert!(way == 0 || took >= Duration::from_millis(100), "way {way} took {took:?}");
            assert_eq!(junction.connections_accepted(way), 1);
            (client, trip)
        });
        junction.set_stalled(0, Direction::ToClient, true);
        assert!((clients[0].1)(&clients[0].0).is_err(), "a stalled way delivered");
        assert!((clients[1].1)(&clients[1].0).is_ok());
    }
}
