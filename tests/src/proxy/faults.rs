//! The settings that all connections of a proxy share, and the list of those connections.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Direction;

/// What happens to bytes of one direction.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) delay: Duration,
    pub(super) in_flight: usize,
    pub(super) bandwidth: Option<u64>,
    pub(super) stalled: bool,
    pub(super) close_after: Option<u64>,
    pub(super) garbage: Option<Vec<u8>>,
    pub(super) delivered: u64,
}

impl Lane {
    fn new() -> Self {
        Self {
            delay: Duration::ZERO,
            in_flight: 1 << 20,
            bandwidth: None,
            stalled: false,
            close_after: None,
            garbage: None,
            delivered: 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    to_server: Lane,
    to_client: Lane,
    pub(super) upstream: SocketAddr,
    pub(super) refusing: bool,
    pub(super) ended: bool,
    pub(super) accepted: u64,
    pub(super) connections: BTreeMap<u64, [TcpStream; 2]>,
    next: u64,
}

impl State {
    pub(super) fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    pub(super) fn heal(&mut self) {
        self.refusing = false;
        for lane in [&mut self.to_server, &mut self.to_client] {
            *lane = Lane { delivered: lane.delivered, ..Lane::new() };
        }
    }
}

#[derive(Debug)]
pub(super) struct Faults {
    state: Mutex<State>,
    changed: Condvar,
}

impl Faults {
    pub(super) fn new(upstream: SocketAddr) -> Self {
        let state = State {
            to_server: Lane::new(),
            to_client: Lane::new(),
            upstream,
            refusing: false,
            ended: false,
            accepted: 0,
            connections: BTreeMap::new(),
            next: 0,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Reads or changes the settings and wakes whoever waits for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Reads or changes without waking anybody: for the path of every chunk.
    pub(super) fn quietly<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.lock())
    }

    /// Waits while a direction is stalled and the connection lives; false when the connection was cut.
    pub(super) fn wait_unstalled(&self, direction: Direction, id: u64) -> bool {
        let state = self.lock();
        let waiting = |state: &mut State| state.connections.contains_key(&id) && state.lane(direction).stalled;
        let state = self.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        state.connections.contains_key(&id)
    }

    /// Adds a connection; `None` when the proxy has ended meanwhile.
    pub(super) fn open(&self, client: TcpStream, server: TcpStream) -> Option<u64> {
        self.change(|state| {
            if state.ended {
                return None;
            }
            state.next += 1;
            state.connections.insert(state.next, [client, server]);
            Some(state.next)
        })
    }

    /// Cuts one connection.
    pub(super) fn close(&self, id: u64) {
        self.change(|state| state.connections.remove(&id).iter().flatten().for_each(shut));
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        self.change(|state| std::mem::take(&mut state.connections).values().flatten().for_each(shut));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shut(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}
