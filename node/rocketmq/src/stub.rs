//! A name server and broker in memory, for tests and for measuring the most that a client can reach.
//!
//! Parts: [`Stub`], one listening server; [`StubOptions`]; [`Fault`], what the next request of a code meets instead of
//! its answer; [`store`], topics and queues. It answers what the client asks, in the words of a 5.x broker, keeps
//! everything in memory and promises nothing about order under pipelining. Never use it to prove what a real broker
//! does.

mod serve;
pub mod store;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use crate::stub::store::Store;
use crate::wire::sign::Credentials;

/// How a stub behaves.
#[derive(Clone, Default)]
pub struct StubOptions {
    /// Requests must be signed with these, or are refused with code 16.
    pub credentials: Option<Credentials>,
    /// Speaks TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Refuses pulls as a slave without `slaveReadEnable` does.
    pub refuses_pulls: bool,
    /// Answers requests of administrators with code 3, as a proxy does.
    pub is_proxy: bool,
}

/// What happens to the next request of a code.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Executes it, writes half of the answer and closes.
    CloseMidFrame,
    /// Closes without executing or answering.
    Close,
    /// Executes it and closes without an answer.
    ExecuteThenClose,
    /// Announces an answer of that many bytes, sends a few, and keeps the connection open.
    Announce(u32),
    /// Sends these bytes instead of an answer.
    Garbage(Bytes),
    /// Answers with this code and remark, without executing.
    Answer(i32, String),
    /// Executes and answers, but later.
    Delay(Duration),
    /// Neither executes nor answers; the connection stays.
    Silence,
    /// Sends a request of its own first, as brokers do to notify, then answers.
    NotifyFirst,
    /// Sends an answer that nobody asked for first, then the right one.
    StrayFirst,
}

/// A running stub. Dropping it ends it.
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<u64>,
}

pub(crate) struct Shared {
    pub(crate) options: StubOptions,
    pub(crate) store: Mutex<Store>,
    /// Told whenever a message was stored.
    pub(crate) stored: Notify,
    faults: Mutex<HashMap<i32, VecDeque<Fault>>>,
    accepted: AtomicU64,
    requests: Mutex<HashMap<i32, u64>>,
}

impl Stub {
    /// Listens on a free port of the loopback address.
    pub async fn start(options: StubOptions) -> io::Result<Self> {
        Self::start_at("127.0.0.1:0", options).await
    }

    /// Listens on a given address.
    pub async fn start_at(address: &str, options: StubOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options,
            store: Mutex::new(Store::new(address)),
            stored: Notify::new(),
            faults: Mutex::default(),
            accepted: AtomicU64::new(0),
            requests: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(0);
        tokio::spawn(accept(listener, Arc::clone(&shared), stopped));
        Ok(Self { address, shared, stop })
    }

    /// `host:port` of the stub, which is name server and broker.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The store, to prepare or to inspect it.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }

    /// Wakes long polls after the store was changed from outside.
    pub fn wake(&self) {
        self.shared.stored.notify_waiters();
    }

    /// Lets the next request of that code meet a fault. Several wait in line.
    pub fn fault(&self, code: i32, fault: Fault) {
        lock(&self.shared.faults).entry(code).or_default().push_back(fault);
    }

    /// Closes every connection; new ones are accepted.
    pub fn drop_connections(&self) {
        self.stop.send_modify(|round| *round = round.wrapping_add(1));
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Requests of that code that arrived whole so far.
    pub fn requests(&self, code: i32) -> u64 {
        lock(&self.shared.requests).get(&code).copied().unwrap_or(0)
    }
}

impl Shared {
    pub(crate) fn next_fault(&self, code: i32) -> Option<Fault> {
        let count = &mut *lock(&self.requests);
        let count = count.entry(code).or_default();
        *count = count.saturating_add(1);
        lock(&self.faults).get_mut(&code).and_then(VecDeque::pop_front)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<u64>) {
    loop {
        // A closed channel means that the stub was dropped.
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = stopped.changed() => if changed.is_err() { return } else { continue },
        };
        let Ok((stream, peer)) = stream else { continue };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        // A stub answers in small pieces; waiting for more would only slow tests down.
        let _not_essential = stream.set_nodelay(true);
        let (shared, mut stopped) = (Arc::clone(&shared), stopped.clone());
        stopped.mark_unchanged();
        tokio::spawn(async move {
            let serving = async {
                match shared.options.tls.clone() {
                    None => {
                        let (read, write) = tokio::io::split(stream);
                        serve::serve(read, write, peer, &shared).await;
                    }
                    Some(config) => {
                        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                            let (read, write) = tokio::io::split(stream);
                            serve::serve(read, write, peer, &shared).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = serving => {}
                _ = stopped.changed() => {}
            }
        });
    }
}

/// A poisoned lock guards plain data of a test double.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
