//! A long line between two processes on loopback: every byte arrives a set time after it was sent, whatever the rate,
//! and each direction of a connection carries at most a window of bytes that are not acknowledged, as TCP does.
//!
//! A byte counts from the moment when it is read until its acknowledgement would be back: its delivery and the way
//! back. So one connection carries a window in a round trip, and what a second connection carries comes on top. Setting
//! up a connection takes a round trip. Not imitated: slow start, loss, and a bandwidth that connections share.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// Bytes that are read at once, at most. Small beside any window, large enough to cost little.
const CHUNK: usize = 64 << 10;

/// A running line. Dropping it cuts every connection.
#[derive(Debug)]
pub struct LongLine {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Where it leads; none until that is known.
    upstream: Mutex<Option<SocketAddr>>,
    /// Nanoseconds of one way.
    one_way: AtomicU64,
    window: usize,
    ended: AtomicBool,
    carried: AtomicU64,
    connections: Mutex<Vec<Weak<[TcpStream; 2]>>>,
}

impl Shared {
    fn one_way(&self) -> Duration {
        Duration::from_nanos(self.one_way.load(Ordering::Relaxed))
    }
}

impl LongLine {
    /// Listens on `listen` (port 0 for any). `window` is in bytes, for each direction of a connection. It has no length
    /// yet, and leads nowhere: connections are closed until [`LongLine::lead_to`].
    ///
    /// # Panics
    /// When the address is none or cannot be bound.
    pub fn start(listen: &str, window: usize) -> Self {
        let listener = TcpListener::bind(listen).unwrap_or_else(|error| panic!("cannot listen on {listen}: {error}"));
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(None),
            one_way: AtomicU64::new(0),
            window: window.max(1),
            ended: AtomicBool::new(false),
            carried: AtomicU64::new(0),
            connections: Mutex::default(),
        });
        let acceptor = Some(spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        }));
        Self { address, shared, acceptor }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections there.
    ///
    /// # Panics
    /// When it is no address.
    pub fn lead_to(&self, upstream: &str) {
        let address = upstream.parse().unwrap_or_else(|error| panic!("{upstream} is no address: {error}"));
        *locked(&self.shared.upstream) = Some(address);
    }

    /// How long bytes that are sent from now on take, in each direction; open connections keep their order.
    pub fn set_one_way(&self, time: Duration) {
        self.shared.one_way.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Bytes that were delivered so far, in both directions.
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }
}

impl Drop for LongLine {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for connection in locked(&self.shared.connections).iter().filter_map(Weak::upgrade) {
            cut(&connection);
        }
        // Accepting blocks; a connection of our own lets it see that the end has come.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        let Some(upstream) = *locked(&shared.upstream) else { continue };
        let shared = Arc::clone(shared);
        spawn(move || {
            sleep(shared.one_way() * 2);
            if let Ok(server) = TcpStream::connect_timeout(&upstream, Duration::from_secs(5)) {
                // A connection that breaks ends both of its directions; nobody else minds.
                let _ = carry(client, server, &shared);
            }
        });
    }
}

fn carry(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let connection = Arc::new([client, server]);
    {
        let mut connections = locked(&shared.connections);
        connections.retain(|known| known.strong_count() > 0);
        connections.push(Arc::downgrade(&connection));
    }
    if shared.ended.load(Ordering::Relaxed) {
        cut(&connection);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        let lane = Arc::new(Lane::default());
        let (reading, at, line) = (Arc::clone(&connection), Arc::clone(&lane), Arc::clone(shared));
        spawn(move || {
            at.read(&reading[from], &line);
        });
        let (writing, line) = (Arc::clone(&connection), Arc::clone(shared));
        spawn(move || {
            if lane.write(&writing[to], &line).is_err() {
                cut(&writing);
            }
            lane.give_up();
        });
    }
    Ok(())
}

fn cut(connection: &[TcpStream; 2]) {
    for stream in connection {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Lane {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Chunks with the time when they arrived; an empty one is the end of the stream.
    under_way: VecDeque<(Instant, Vec<u8>)>,
    /// When the sender hears of which delivery.
    acknowledged: VecDeque<(Instant, usize)>,
    /// Bytes in both.
    bytes: usize,
    /// Nobody delivers any more.
    given_up: bool,
}

impl State {
    /// Bytes that may be read, and when there may be more without a delivery.
    fn room(&mut self, window: usize, now: Instant) -> (usize, Option<Instant>) {
        while let Some((_, bytes)) = self.acknowledged.pop_front_if(|(at, _)| *at <= now) {
            self.bytes -= bytes;
        }
        (window.saturating_sub(self.bytes), self.acknowledged.front().map(|(at, _)| *at))
    }
}

impl Lane {
    fn read(&self, mut from: &TcpStream, line: &Shared) {
        let mut buffer = vec![0; CHUNK];
        let mut last = Instant::now();
        while let Some(room) = self.wait_for_room(line.window) {
            let read = from.read(&mut buffer[..room.min(CHUNK)]).unwrap_or(0);
            // A line that got shorter overtakes nothing.
            last = last.max(Instant::now() + line.one_way());
            let mut state = locked(&self.state);
            state.bytes += read;
            state.under_way.push_back((last, buffer[..read].to_vec()));
            drop(state);
            self.changed.notify_all();
            if read == 0 {
                return;
            }
        }
    }

    /// Waits until something may be read; none when nobody delivers any more.
    fn wait_for_room(&self, window: usize) -> Option<usize> {
        let mut state = locked(&self.state);
        loop {
            let now = Instant::now();
            let (room, more_at) = state.room(window, now);
            if state.given_up {
                return None;
            }
            if room > 0 {
                return Some(room);
            }
            // Without one, a delivery is waited for.
            let wait = more_at.map_or(Duration::from_secs(1), |at| at - now);
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write(&self, mut to: &TcpStream, line: &Shared) -> io::Result<()> {
        loop {
            let state = locked(&self.state);
            let nothing = |state: &mut State| state.under_way.is_empty();
            let mut state = self.changed.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner);
            let Some((due, chunk)) = state.under_way.pop_front() else { continue };
            drop(state);
            sleep(due.saturating_duration_since(Instant::now()));
            if chunk.is_empty() {
                // The sender closed its half; the other one may still flow.
                return to.shutdown(Shutdown::Write);
            }
            to.write_all(&chunk)?;
            line.carried.fetch_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
            locked(&self.state).acknowledged.push_back((Instant::now() + line.one_way(), chunk.len()));
            self.changed.notify_all();
        }
    }

    fn give_up(&self) {
        locked(&self.state).given_up = true;
        self.changed.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
