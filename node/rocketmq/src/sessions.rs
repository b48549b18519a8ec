//! The live connections of one client, one per address and purpose, opened when first needed.
//!
//! Parts: [`Sessions`]; [`Purpose`].
//! One attempt to connect at a time per slot: who waited for an attempt that failed shares its error. There is no other
//! back-off here; a caller that retries waits between its attempts. Pulls and sends never share a connection, so a long
//! poll with a large answer never delays a send. Never reuses a connection that the broker is about to close as idle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;
use crate::session::Session;
use crate::socket::SocketOptions;

/// Brokers close a connection that was idle for 120 s; ours are replaced before.
const IDLE_LIMIT: Duration = Duration::from_secs(100);

/// Connections that this process has opened.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Everything that changes nothing or may be repeated: pulls, offsets, routes, topics.
    Ask,
    /// Sends. Each stripe is a connection of its own.
    Send(usize),
}

/// All connections.
pub(crate) struct Sessions {
    ask: SocketOptions,
    send: SocketOptions,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    address: Arc<str>,
    purpose: Purpose,
}

#[derive(Default)]
struct Slot {
    live: Mutex<Option<Arc<Session>>>,
    /// Held while connecting; keeps when and why the last attempt failed.
    opening: tokio::sync::Mutex<Option<(Instant, Error)>>,
}

impl Sessions {
    /// No connection yet. `options` are those for asking; sends get a hard close on top.
    pub(crate) fn new(options: SocketOptions) -> Self {
        let send = SocketOptions { abort_on_close: true, ..options.clone() };
        Self { ask: options, send, slots: Mutex::default() }
    }

    /// The live connection, or a new one.
    pub(crate) async fn get(&self, address: &Arc<str>, purpose: Purpose) -> Result<Arc<Session>, Error> {
        let asked = Instant::now();
        let slot = self.slot(address, purpose);
        if let Some(session) = slot.usable() {
            return Ok(session);
        }
        let mut last_failure = slot.opening.lock().await;
        if let Some(session) = slot.usable() {
            return Ok(session);
        }
        if let Some((at, error)) = last_failure.as_ref()
            && *at > asked
        {
            return Err(error.clone());
        }
        let options = match purpose {
            Purpose::Ask => &self.ask,
            Purpose::Send(_) => &self.send,
        };
        let generation = OPENED.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        match Session::open(Arc::clone(address), options, generation).await {
            Ok(session) => {
                let session = Arc::new(session);
                *lock(&slot.live) = Some(Arc::clone(&session));
                *last_failure = None;
                Ok(session)
            }
            Err(error) => {
                *last_failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The number of the live connection, if there is one: different for every connection that was ever opened.
    pub(crate) fn generation(&self, address: &Arc<str>, purpose: Purpose) -> Option<u64> {
        let key = Key { address: Arc::clone(address), purpose };
        let slot = lock(&self.slots).get(&key).cloned()?;
        slot.usable().map(|session| session.generation())
    }

    /// Forgets every connection to an address. Requests under way still get their answers.
    pub(crate) fn retire(&self, address: &str) {
        lock(&self.slots).retain(|key, _| &*key.address != address);
    }

    /// Requests of sends that still wait for their answers.
    pub(crate) fn sends_waiting(&self) -> usize {
        let sends = |(key, slot): (&Key, &Arc<Slot>)| matches!(key.purpose, Purpose::Send(_)).then(|| Arc::clone(slot));
        let slots: Vec<_> = lock(&self.slots).iter().filter_map(sends).collect();
        slots.iter().filter_map(|slot| lock(&slot.live).clone()).map(|session| session.waiting()).sum()
    }

    /// Ends every connection.
    pub(crate) fn close_all(&self) {
        let slots = std::mem::take(&mut *lock(&self.slots));
        for slot in slots.into_values() {
            if let Some(session) = lock(&slot.live).take() {
                session.close(Error::Closed);
            }
        }
    }

    fn slot(&self, address: &Arc<str>, purpose: Purpose) -> Arc<Slot> {
        let key = Key { address: Arc::clone(address), purpose };
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }
}

impl Slot {
    fn usable(&self) -> Option<Arc<Session>> {
        let mut live = lock(&self.live);
        let session = live.as_ref()?;
        if session.is_closed() || (session.waiting() == 0 && session.idle() > IDLE_LIMIT) {
            live.take();
            return None;
        }
        Some(Arc::clone(session))
    }
}

/// A poisoned lock guards a map whose operations cannot stop half-way, so its content is still right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
