//! One connection to a peer that carries byte streams to this node. It is made when a stream is opened, and ends when
//! none has been open for a while. Nothing is tried again here: whoever opened a stream that ended decides.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use causeway_core::ids::NodeId;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::super::error::{ConnectionError, Error};
use super::super::frame::Frame;
use super::super::handshake::{Connection, Endpoint, Reader, Writer};
use super::super::hello::{Expected, Purpose};
use super::super::peer_link::PeerAddress;
use super::super::refusal::Refusal;
use super::super::registry::Pass;
use super::super::settings::FRAME_OVERHEAD_BYTES;
use super::{Opening, Stream, StreamEnd};

/// A connection without a stream is kept this long.
const IDLE: Duration = Duration::from_secs(60);

/// A message below this many bytes is copied out of the bytes that were read with it, so that it does not keep all of
/// them while it waits.
const COPIED_BELOW: usize = 64 * 1024;

/// What streams and their connection share.
#[derive(Debug)]
pub(crate) struct Stripe {
    state: Mutex<State>,
    /// Told when there is something to send.
    wake: Notify,
    maximum_streams: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the newest stream. Never used again, whatever connection comes.
    last: u64,
    /// Streams that a reader holds.
    open: HashMap<u64, Inlet>,
    to_open: VecDeque<(u64, u64, Bytes)>,
    credits: BTreeMap<u64, u64>,
    to_close: Vec<u64>,
    has_ended: bool,
}

/// Where the messages of a stream go.
#[derive(Debug)]
struct Inlet {
    messages: UnboundedSender<Result<Bytes, StreamEnd>>,
    /// What the other side may still send.
    allowed: i64,
}

impl Stripe {
    pub(crate) fn new(maximum_streams: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), wake: Notify::new(), maximum_streams })
    }

    /// Opens a stream; never waits. What keeps it from being opened is told as its end.
    pub(crate) fn open(self: &Arc<Self>, opening: Opening) -> Result<Stream, Error> {
        let mut state = self.lock();
        if state.has_ended {
            return Err(Error::Stopped);
        }
        if state.open.len() >= self.maximum_streams {
            return Err(Error::BufferFull);
        }
        state.last = state.last.saturating_add(1);
        let number = state.last;
        let window = u64::try_from(opening.window).unwrap_or(u64::MAX);
        let (messages, arrived) = unbounded_channel();
        state.open.insert(number, Inlet { messages, allowed: i64::try_from(window).unwrap_or(i64::MAX) });
        state.to_open.push_back((number, window, opening.body));
        drop(state);
        self.wake.notify_one();
        let stripe = Arc::clone(self);
        Ok(Stream { number, stripe, messages: arrived, window: opening.window, taken: 0, end: None })
    }

    pub(crate) fn give_credit(&self, number: u64, bytes: usize) {
        let mut state = self.lock();
        let Some(inlet) = state.open.get_mut(&number) else { return };
        inlet.allowed = inlet.allowed.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let credit = state.credits.entry(number).or_default();
        *credit = credit.saturating_add(bytes);
        drop(state);
        self.wake.notify_one();
    }

    /// The reader of a stream is gone.
    pub(crate) fn close(&self, number: u64) {
        let mut state = self.lock();
        if state.open.remove(&number).is_none() {
            return;
        }
        state.credits.remove(&number);
        let unsent = state.to_open.len();
        state.to_open.retain(|(waiting, ..)| *waiting != number);
        if state.to_open.len() == unsent {
            state.to_close.push(number);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// The next frame that there is to send.
    fn next(&self) -> Option<Frame> {
        let mut state = self.lock();
        if let Some(stream) = state.to_close.pop() {
            return Some(Frame::Close { stream });
        }
        if let Some((stream, bytes)) = state.credits.pop_first() {
            // Credit for a stream that is not opened yet is a part of its window.
            if let Some((_, window, _)) = state.to_open.iter_mut().find(|(waiting, ..)| *waiting == stream) {
                *window = window.saturating_add(bytes);
            } else {
                return Some(Frame::Credit { stream, bytes });
            }
        }
        let (stream, window, opening) = state.to_open.pop_front()?;
        Some(Frame::Open { stream, window, opening })
    }

    fn take(&self, stream: u64, bytes: &Bytes) -> Result<(), ConnectionError> {
        let mut state = self.lock();
        // What was on its way when the stream was closed is passed over.
        let Some(inlet) = state.open.get_mut(&stream) else { return Ok(()) };
        if inlet.allowed <= 0 {
            return Err(ConnectionError::Overrun);
        }
        inlet.allowed = inlet.allowed.saturating_sub(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        let bytes = if bytes.len() < COPIED_BELOW { Bytes::copy_from_slice(bytes) } else { bytes.clone() };
        // The reader may have gone at this moment.
        let _ = inlet.messages.send(Ok(bytes));
        Ok(())
    }

    fn end(&self, stream: u64, why: StreamEnd) {
        let mut state = self.lock();
        state.credits.remove(&stream);
        if let Some(inlet) = state.open.remove(&stream) {
            let _ = inlet.messages.send(Err(why));
        }
    }

    /// Ends all streams: their connection did.
    fn end_all(&self, why: &StreamEnd) {
        let mut state = self.lock();
        state.to_open.clear();
        state.credits.clear();
        state.to_close.clear();
        for inlet in std::mem::take(&mut state.open).into_values() {
            let _ = inlet.messages.send(Err(why.clone()));
        }
    }

    fn is_unused(&self) -> bool {
        let state = self.lock();
        state.open.is_empty() && state.to_close.is_empty()
    }

    fn has_to_open(&self) -> bool {
        !self.lock().to_open.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a stripe.
pub(crate) struct StripeTask {
    pub(crate) node: NodeId,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) stripe: Arc<Stripe>,
}

impl StripeTask {
    /// Connects whenever a stream is opened, until there is no address any more.
    pub(crate) async fn run(self, mut at: watch::Receiver<Option<PeerAddress>>) {
        loop {
            let Some(target) = at.borrow_and_update().clone() else { return };
            let ended = tokio::select! {
                ended = self.connect_and_run(&target) => ended,
                moved = at.changed() => match moved {
                    Ok(()) => ConnectionError::GivenUp,
                    Err(_) => return,
                },
            };
            if at.borrow().is_none() {
                return;
            }
            tracing::debug!(node = %self.node, reason = %ended, "a connection for byte streams ended");
            self.stripe.end_all(&StreamEnd::Interrupted(ended));
        }
    }

    async fn connect_and_run(&self, target: &PeerAddress) -> ConnectionError {
        while !self.stripe.has_to_open() {
            self.stripe.wake.notified().await;
        }
        let expected = Expected { node: Some(self.node), name: Some(target.name.clone()) };
        let connection = match self.endpoint.dial(&target.address, &expected, Purpose::Streams).await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        let settings = &self.endpoint.settings;
        let Connection { pass, mut reader, mut writer, .. } = connection;
        reader.maximum = settings.stream_message_bytes.saturating_add(FRAME_OVERHEAD_BYTES);
        tokio::select! {
            error = self.send(&mut writer, settings.ping_every) => error,
            error = self.hear(&mut reader, &pass) => error,
        }
    }

    async fn send(&self, writer: &mut Writer, ping_every: Duration) -> ConnectionError {
        let mut used = Instant::now();
        loop {
            while let Some(frame) = self.stripe.next() {
                if let Err(error) = writer.write(&frame).await {
                    return error;
                }
            }
            if timeout(ping_every, self.stripe.wake.notified()).await.is_err() {
                if !self.stripe.is_unused() {
                    used = Instant::now();
                } else if used.elapsed() >= IDLE {
                    return ConnectionError::GivenUp;
                }
                if let Err(error) = writer.write(&Frame::Ping).await {
                    return error;
                }
            }
        }
    }

    async fn hear(&self, reader: &mut Reader, pass: &Pass) -> ConnectionError {
        loop {
            let frame = match reader.next().await {
                Ok(frame) => frame,
                Err(error) => return error,
            };
            pass.heard();
            let taken = match frame {
                Frame::Ping => Ok(()),
                Frame::Data { stream, bytes } => self.stripe.take(stream, &bytes),
                Frame::End { stream, reason } => {
                    self.stripe.end(stream, StreamEnd::of(reason));
                    Ok(())
                }
                Frame::Refused(refusal) => Err(ConnectionError::Refused(Refusal::decode(&refusal))),
                other => Err(ConnectionError::Unexpected { kind: other.kind() }),
            };
            if let Err(error) = taken {
                return error;
            }
        }
    }
}

/// However the task ends, nobody waits for messages that cannot come.
impl Drop for StripeTask {
    fn drop(&mut self) {
        self.stripe.lock().has_ended = true;
        self.stripe.end_all(&StreamEnd::Stopped);
    }
}
