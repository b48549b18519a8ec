//! The requests that wait for an answer on one connection.
//!
//! Bounded: a full table refuses at once. When the connection is lost every waiter learns it, and later ones are
//! refused with the same reason. Never blocks; the lock is held for a map operation only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::wire::frame::Frame;

/// Most requests that may wait on one connection.
pub(crate) const MAX_PENDING: usize = 4096;

/// What a waiter receives.
pub(crate) type Answer = Result<Frame, Error>;

/// Shared by a session and its reader task.
pub(crate) struct Pending {
    address: Arc<str>,
    table: Mutex<Table>,
    /// Same as `table.lost.is_some()`, readable without the lock.
    closed: AtomicBool,
    /// Answers received so far, to tell a slow peer from a silent one.
    received: AtomicU64,
    /// The one writer that waits for room in the socket's buffer: it must learn of a close at once.
    stalled_writer: Mutex<Option<Waker>>,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<i32, oneshot::Sender<Answer>>,
    next: i32,
    lost: Option<Error>,
}

impl Pending {
    /// An empty table for a connection to `address`.
    pub(crate) fn new(address: Arc<str>) -> Self {
        Self {
            address,
            table: Mutex::default(),
            closed: AtomicBool::new(false),
            received: AtomicU64::new(0),
            stalled_writer: Mutex::default(),
        }
    }

    /// Whom the connection leads to.
    pub(crate) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Reserves an opaque number that no waiting request has.
    pub(crate) fn register(&self) -> Result<(i32, oneshot::Receiver<Answer>), Error> {
        let mut table = self.lock();
        if let Some(error) = &table.lost {
            return Err(error.clone());
        }
        if table.waiting.len() >= MAX_PENDING {
            return Err(Error::Overloaded { address: self.address.to_string() });
        }
        let opaque = loop {
            let candidate = table.next;
            table.next = if candidate == i32::MAX { 0 } else { candidate + 1 };
            if !table.waiting.contains_key(&candidate) {
                break candidate;
            }
        };
        let (sender, receiver) = oneshot::channel();
        table.waiting.insert(opaque, sender);
        Ok((opaque, receiver))
    }

    /// Gives an answer to its waiter. Answers that nobody waits for any more are dropped.
    pub(crate) fn complete(&self, frame: Frame) {
        self.received.fetch_add(1, Ordering::Relaxed);
        let waiter = self.lock().waiting.remove(&frame.opaque);
        if let Some(waiter) = waiter {
            // The waiter may have gone in this moment; then its answer is of no use to anybody.
            let _unused = waiter.send(Ok(frame));
        }
    }

    /// Takes back a reservation.
    pub(crate) fn forget(&self, opaque: i32) {
        self.lock().waiting.remove(&opaque);
    }

    /// Marks the connection as lost and tells every waiter. Only the first reason counts.
    pub(crate) fn lose(&self, reason: Error) {
        let waiting = {
            let mut table = self.lock();
            if table.lost.is_some() {
                return;
            }
            table.lost = Some(reason.clone());
            self.closed.store(true, Ordering::Release);
            std::mem::take(&mut table.waiting)
        };
        for waiter in waiting.into_values() {
            let _unused = waiter.send(Err(reason.clone()));
        }
        if let Some(waker) = lock(&self.stalled_writer).take() {
            waker.wake();
        }
    }

    /// Whether the connection is lost.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Why the connection is lost, or that it is, when nobody said why.
    pub(crate) fn reason(&self) -> Error {
        self.lock()
            .lost
            .clone()
            .unwrap_or_else(|| Error::ConnectionLost { address: self.address.to_string(), reason: "closed".to_owned() })
    }

    /// Answers received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Requests that wait now.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Remembers the writer that waits for room. It must check [`Self::is_closed`] after this call.
    pub(crate) fn stall(&self, waker: &Waker) {
        let mut stalled = lock(&self.stalled_writer);
        if !stalled.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *stalled = Some(waker.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

/// A poisoned lock guards a map whose operations cannot stop half-way, so its content is still right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(opaque: i32) -> Frame {
        Frame { opaque, flag: 1, ..Frame::default() }
    }

    #[test]
    fn an_answer_reaches_its_own_waiter_only() {
        let pending = Pending::new("a:1".into());
        let (first, mut first_answer) = pending.register().unwrap();
        let (second, mut second_answer) = pending.register().unwrap();
        assert_ne!(first, second);
        pending.complete(answer(second));
        pending.complete(answer(77));
        assert_eq!(second_answer.try_recv().unwrap().unwrap().opaque, second);
        assert!(first_answer.try_recv().is_err());
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn the_table_is_bounded() {
        let pending = Pending::new("a:1".into());
        let waiting: Vec<_> = (0..MAX_PENDING).map(|_| pending.register().unwrap()).collect();
        assert!(matches!(pending.register(), Err(Error::Overloaded { .. })));
        pending.forget(waiting[17].0);
        assert!(pending.register().is_ok());
    }

    #[test]
    fn a_loss_tells_every_waiter_and_refuses_later_ones_with_the_first_reason() {
        let pending = Pending::new("a:1".into());
        let (_, mut waiting) = pending.register().unwrap();
        pending.lose(Error::malformed("a:1", "first"));
        pending.lose(Error::Closed);
        assert_eq!(waiting.try_recv().unwrap(), Err(Error::malformed("a:1", "first")));
        assert_eq!(pending.register().unwrap_err(), Error::malformed("a:1", "first"));
        assert!(pending.is_closed() && pending.len() == 0);
    }

    #[test]
    fn opaque_numbers_wrap_and_skip_those_in_use() {
        let pending = Pending::new("a:1".into());
        let (first, _held) = pending.register().unwrap();
        assert_eq!(first, 0);
        lock(&pending.table).next = i32::MAX;
        assert_eq!(pending.register().unwrap().0, i32::MAX);
        assert_eq!(pending.register().unwrap().0, 1);
    }
}
