//! What waits to be sent to one peer: three lanes with bounds of their own.
//!
//! Raft messages go first, because elections hang on them. Requests and pieces of large messages take turns by chance,
//! so that neither starves the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::budget::{Budget, Share};
use super::error::{ConnectionError, Error};
use super::frame::Frame;
use super::large::{Done, InFlight, LargeLane, QueuedLarge};
use super::settings::Settings;
use super::waiting::{Answer, QueuedRequest};

/// Messages in pieces that may wait for one peer; their bytes are bounded too.
const LARGE_MESSAGES: usize = 8;

/// Puts into the lanes; never waits.
#[derive(Debug)]
pub(crate) struct LaneSender {
    raft: UnboundedSender<(Bytes, Share)>,
    requests: UnboundedSender<QueuedRequest>,
    large: UnboundedSender<QueuedLarge>,
    raft_budget: Arc<Budget>,
    request_budget: Arc<Budget>,
    large_budget: Arc<Budget>,
    dropped: Arc<AtomicU64>,
    last_request: AtomicU64,
    maximum_body_bytes: usize,
    whole_message_bytes: usize,
    maximum_message_bytes: usize,
}

/// How much waits for one peer, and how much was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Buffered {
    /// Raft messages that wait.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Requests that wait or have no answer yet.
    pub requests: usize,
    /// Raft messages that were dropped since the peer was set: the buffer was full, or the peer out of reach.
    pub dropped: u64,
}

/// Takes out of the lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    raft: UnboundedReceiver<(Bytes, Share)>,
    requests: UnboundedReceiver<QueuedRequest>,
    large: LargeLane,
    dropped: Arc<AtomicU64>,
}

/// What is sent next.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A frame, and the place that it holds until it was sent.
    Raft(Frame, Share),
    /// A request.
    Request(QueuedRequest),
    /// A piece of a message.
    Piece(Frame),
}

pub(crate) fn lanes(settings: &Settings) -> (LaneSender, Lanes) {
    let (raft_sender, raft) = unbounded_channel();
    let (request_sender, requests) = unbounded_channel();
    let (large_sender, large) = unbounded_channel();
    let dropped = Arc::new(AtomicU64::new(0));
    let sender = LaneSender {
        raft: raft_sender,
        requests: request_sender,
        large: large_sender,
        raft_budget: Budget::new(settings.buffered_messages, settings.buffered_bytes),
        request_budget: Budget::new(settings.requests, settings.request_bytes),
        large_budget: Budget::new(LARGE_MESSAGES, settings.maximum_message_bytes),
        dropped: Arc::clone(&dropped),
        last_request: AtomicU64::new(0),
        maximum_body_bytes: settings.maximum_body_bytes(),
        whole_message_bytes: settings.whole_message_bytes,
        maximum_message_bytes: settings.maximum_message_bytes,
    };
    let large = LargeLane::new(large, settings.piece_bytes, settings.message_time_limit);
    (sender, Lanes { raft, requests, large, dropped })
}

impl LaneSender {
    /// Takes a Raft message. When there is no room, the message is dropped and counted.
    pub(crate) fn raft(&self, message: Vec<u8>) -> Result<(), Error> {
        if message.len() > self.whole_message_bytes {
            return self.large(message, Done::nobody()).inspect_err(|_| self.count_dropped());
        }
        let Some(share) = self.raft_budget.take(message.len()) else {
            self.count_dropped();
            return Err(Error::BufferFull);
        };
        self.raft.send((message.into(), share)).map_err(|_| Error::Stopped)
    }

    /// Takes a Raft message that travels in pieces. When there is no room, `done` is told so.
    pub(crate) fn snapshot(&self, message: Vec<u8>, done: Done) {
        // Whoever cannot be given the message is told by what was given for that.
        let _ = self.large(message, done);
    }

    fn large(&self, message: Vec<u8>, done: Done) -> Result<(), Error> {
        let (bytes, maximum) = (message.len(), self.maximum_message_bytes);
        let share = match bytes {
            0 => Err(Error::NotTaken { reason: "the message is empty".into() }),
            _ if bytes > maximum => Err(Error::TooLarge { bytes, maximum }),
            _ => self.large_budget.take(bytes).ok_or(Error::BufferFull),
        };
        match share {
            Ok(share) => {
                let queued = QueuedLarge { bytes: message.into(), done, share };
                self.large.send(queued).map_err(|_| Error::Stopped)
            }
            Err(error) => {
                done.tell(Err(error.clone()));
                Err(error)
            }
        }
    }

    /// Takes a request and gives it its number.
    pub(crate) fn request(&self, body: Vec<u8>, answer: Answer) -> Result<u64, Error> {
        let (bytes, maximum) = (body.len(), self.maximum_body_bytes);
        if bytes > maximum {
            return Err(Error::TooLarge { bytes, maximum });
        }
        let share = self.request_budget.take(bytes).ok_or(Error::BufferFull)?;
        let id = self.last_request.fetch_add(1, Ordering::Relaxed);
        let queued = QueuedRequest { id, body: body.into(), answer, share };
        self.requests.send(queued).map_err(|_| Error::Stopped)?;
        Ok(id)
    }

    pub(crate) fn buffered(&self) -> Buffered {
        let (raft, large) = (self.raft_budget.used(), self.large_budget.used());
        Buffered {
            messages: raft.count.saturating_add(large.count),
            bytes: raft.bytes.saturating_add(large.bytes),
            requests: self.request_budget.used().count,
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// What is to be sent next; none when nobody can give anything any more. A call that is given up loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        tokio::select! {
            biased;
            raft = self.raft.recv() => raft.map(|(message, share)| Outgoing::Raft(Frame::Raft(message), share)),
            other = Self::other(&mut self.requests, &mut self.large) => other,
        }
    }

    async fn other(requests: &mut UnboundedReceiver<QueuedRequest>, large: &mut LargeLane) -> Option<Outgoing> {
        tokio::select! {
            request = requests.recv() => request.map(Outgoing::Request),
            piece = large.next() => piece.map(Outgoing::Piece),
        }
    }

    pub(crate) fn in_flight(&self) -> Arc<InFlight> {
        self.large.in_flight()
    }

    /// Empties the lanes when the peer is out of reach: Raft makes new messages, and an old one helps nobody.
    pub(crate) fn discard(&mut self, error: &ConnectionError) {
        while self.raft.try_recv().is_ok() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        while let Ok(request) = self.requests.try_recv() {
            // Whoever asked may have given up.
            let _ = request.answer.send(Err(Error::NotSent(error.clone())));
        }
        self.dropped.fetch_add(self.large.discard(error), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::{Buffered, ConnectionError, Done, Error, Outgoing, Settings, lanes};

    fn settings() -> Settings {
        Settings {
            whole_message_bytes: 10,
            piece_bytes: 10,
            maximum_message_bytes: 100,
            buffered_messages: 3,
            buffered_bytes: 20,
            requests: 2,
            request_bytes: 10,
            ..Settings::default()
        }
    }

    #[tokio::test]
    async fn the_newest_message_is_dropped_when_there_is_no_room() {
        let (sender, mut lanes) = lanes(&settings());
        for first in [1, 2] {
            sender.raft(vec![first; 8]).unwrap();
        }
        assert_eq!(sender.raft(vec![3; 8]), Err(Error::BufferFull), "bytes");
        sender.raft(vec![4; 4]).unwrap();
        assert_eq!(sender.raft(vec![5; 0]), Err(Error::BufferFull), "number");
        assert_eq!(sender.buffered(), Buffered { messages: 3, bytes: 20, requests: 0, dropped: 2 });
        for first in [1, 2, 4] {
            let Some(Outgoing::Raft(super::Frame::Raft(body), _)) = lanes.next().await else { panic!("not raft") };
            assert_eq!(body[0], first);
        }
        assert_eq!(sender.buffered(), Buffered { dropped: 2, ..Buffered::default() });
    }

    #[tokio::test]
    async fn raft_goes_before_requests_and_large_messages_and_those_take_turns() {
        let (sender, mut lanes) = lanes(&Settings { requests: 64, ..settings() });
        sender.raft(vec![0; 100]).unwrap();
        let mut seen = Vec::new();
        for _ in 0..40 {
            sender.raft(vec![1]).unwrap();
            assert!(matches!(lanes.next().await, Some(Outgoing::Raft(..))));
            let _ = sender.request(Vec::new(), oneshot::channel().0);
            seen.push(matches!(lanes.next().await, Some(Outgoing::Piece(_))));
        }
        assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
    }

    #[tokio::test]
    async fn requests_and_large_messages_have_bounds() {
        let (sender, _lanes) = lanes(&settings());
        let ask = |bytes| sender.request(vec![0; bytes], oneshot::channel().0);
        ask(8).unwrap();
        assert_eq!(ask(3), Err(Error::BufferFull), "bytes");
        ask(2).unwrap();
        assert_eq!(ask(0), Err(Error::BufferFull), "number");
        assert!(matches!(ask(9 << 20), Err(Error::TooLarge { .. })));
        sender.raft(vec![0; 60]).unwrap();
        assert_eq!(sender.raft(vec![0; 60]), Err(Error::BufferFull));
        assert!(matches!(sender.raft(vec![0; 101]), Err(Error::TooLarge { .. })));
        assert_eq!(sender.buffered().dropped, 2);
        for (bytes, error) in [(60, Error::BufferFull), (101, Error::TooLarge { bytes: 101, maximum: 100 })] {
            let (tell, told) = oneshot::channel();
            sender.snapshot(vec![0; bytes], Done::new(move |what| drop(tell.send(what))));
            assert_eq!(told.await.unwrap(), Err(error));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_old_is_left_for_the_next_connection() {
        let (sender, mut lanes) = lanes(&settings());
        sender.raft(vec![1]).unwrap();
        let (answer, asked) = oneshot::channel();
        sender.request(vec![2], answer).unwrap();
        sender.raft(vec![3; 50]).unwrap();
        lanes.discard(&ConnectionError::Closed);
        assert_eq!(asked.await.unwrap(), Err(Error::NotSent(ConnectionError::Closed)));
        assert!(timeout(Duration::from_secs(1), lanes.next()).await.is_err());
        assert_eq!(sender.buffered(), Buffered { dropped: 2, ..Buffered::default() });
    }
}
