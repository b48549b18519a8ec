//! One connection of another node that carries byte streams to it.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::super::error::ConnectionError;
use super::super::frame::Frame;
use super::super::handler::Handler;
use super::super::handshake::{Connection, Reader, Writer};
use super::super::hello::Peer;
use super::super::refusal::Refusal;
use super::super::registry::Pass;
use super::super::settings::{FRAME_OVERHEAD_BYTES, Settings};
use super::credit::Credit;
use super::{MAXIMUM_OPENING_BYTES, NotServed, StreamEnd};

/// Ends of streams that may wait to be sent beside the streams that are open.
const SPARE_ENDS: usize = 64;

/// A frame, and its place among what waits.
type Outgoing = (Frame, OwnedSemaphorePermit);

/// Sends the messages of one stream.
pub struct StreamSender {
    stream: u64,
    credit: Arc<Credit>,
    outgoing: UnboundedSender<Outgoing>,
    /// Bytes that may wait on the connection.
    room: Arc<Semaphore>,
    room_bytes: usize,
    maximum: usize,
}

/// A message that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is larger than [`Settings::stream_message_bytes`].
    #[error("the message has {bytes} bytes, the maximum is {maximum}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        maximum: usize,
    },
    /// The connection ended.
    #[error("the stream's connection ended")]
    Closed,
}

impl StreamSender {
    /// Sends a message when the reader has given credit and the connection has room; it may be lost all the same. A
    /// call that is given up has sent nothing.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&mut self, message: Bytes) -> Result<(), SendError> {
        let (bytes, maximum) = (message.len(), self.maximum);
        if bytes > maximum {
            return Err(SendError::TooLarge { bytes, maximum });
        }
        self.credit.wait_and_take(bytes).await;
        let refund = Refund { credit: &self.credit, bytes };
        let places = u32::try_from(bytes.min(self.room_bytes)).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.room).acquire_many_owned(places).await.map_err(|_| SendError::Closed)?;
        refund.spend();
        let frame = Frame::Data { stream: self.stream, bytes: message };
        self.outgoing.send((frame, place)).map_err(|_| SendError::Closed)
    }

    /// Whether the reader has given credit for the next message; without it [`Self::send`] waits.
    #[must_use]
    pub fn has_credit(&self) -> bool {
        self.credit.is_left()
    }

    /// The longest message, in bytes.
    #[must_use]
    pub fn maximum_message_bytes(&self) -> usize {
        self.maximum
    }
}

/// Gives credit back that was taken for a message which is not sent.
struct Refund<'a> {
    credit: &'a Credit,
    bytes: usize,
}

impl Refund<'_> {
    fn spend(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Refund<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.credit.add(u64::try_from(self.bytes).unwrap_or(u64::MAX));
        }
    }
}

impl fmt::Debug for StreamSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StreamSender").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Runs the connection until it ends, and tells why it did. Whatever serves its streams has ended then, too.
pub(crate) async fn serve<H: Handler>(
    connection: Connection,
    handler: Arc<H>,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) -> ConnectionError {
    let Connection { peer, pass, mut reader, mut writer, .. } = connection;
    reader.maximum = MAXIMUM_OPENING_BYTES.saturating_add(FRAME_OVERHEAD_BYTES);
    let (outgoing, to_send) = unbounded_channel();
    let room_bytes = settings.stream_buffer_bytes.min(Semaphore::MAX_PERMITS);
    let mut served = Served {
        peer,
        pass,
        handler,
        streams: HashMap::new(),
        tasks: JoinSet::new(),
        outgoing,
        room: Arc::new(Semaphore::new(room_bytes)),
        room_bytes,
        ends: Arc::new(Semaphore::new(settings.streams.min(Semaphore::MAX_PERMITS / 2).saturating_add(SPARE_ENDS))),
        settings: settings.clone(),
    };
    let ended = tokio::select! {
        error = served.hear(&mut reader) => error,
        error = send(&mut writer, to_send, settings.ping_every) => error,
        _ = stop.wait_for(|stop| *stop) => ConnectionError::GivenUp,
    };
    served.tasks.shutdown().await;
    ended
}

struct Served<H> {
    peer: Arc<Peer>,
    pass: Pass,
    handler: Arc<H>,
    streams: HashMap<u64, Serving>,
    /// Each gives the number of its stream.
    tasks: JoinSet<u64>,
    outgoing: UnboundedSender<Outgoing>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    /// One place for each stream that is open or whose end waits to be sent.
    ends: Arc<Semaphore>,
    settings: Settings,
}

struct Serving {
    credit: Arc<Credit>,
    task: AbortHandle,
}

impl<H: Handler> Served<H> {
    async fn hear(&mut self, reader: &mut Reader) -> ConnectionError {
        loop {
            let frame = tokio::select! {
                frame = reader.next() => frame,
                Some(ended) = self.tasks.join_next() => {
                    // One that panicked or was aborted is taken out with the next look.
                    match ended {
                        Ok(stream) => drop(self.streams.remove(&stream)),
                        Err(_) => self.streams.retain(|_, serving| !serving.task.is_finished()),
                    }
                    continue;
                }
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return error,
            };
            self.pass.heard();
            let taken = match frame {
                Frame::Ping => Ok(()),
                Frame::Open { stream, window, opening } => self.open(stream, window, opening),
                Frame::Credit { stream, bytes } => {
                    // A stream that has ended meanwhile needs none.
                    if let Some(serving) = self.streams.get(&stream) {
                        serving.credit.add(bytes);
                    }
                    Ok(())
                }
                Frame::Close { stream } => {
                    if let Some(serving) = self.streams.remove(&stream) {
                        serving.task.abort();
                    }
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

    fn open(&mut self, stream: u64, window: u64, opening: Bytes) -> Result<(), ConnectionError> {
        let is_known = self.streams.contains_key(&stream);
        if is_known {
            return Err(ConnectionError::Unexpected { kind: "open" });
        }
        // Whoever opens ever more streams and does not read how they end is cut off.
        let place = Arc::clone(&self.ends).try_acquire_owned().map_err(|_| ConnectionError::Overrun)?;
        let outgoing = self.outgoing.clone();
        let mut ending = Ending { stream, end: StreamEnd::Busy, place: Some(place), outgoing };
        // Counts what is being aborted as well.
        if self.tasks.len() >= self.settings.streams {
            return Ok(());
        }
        ending.end = StreamEnd::Failed;
        let credit = Arc::new(Credit::new(window));
        let sender = StreamSender {
            stream,
            credit: Arc::clone(&credit),
            outgoing: self.outgoing.clone(),
            room: Arc::clone(&self.room),
            room_bytes: self.room_bytes,
            maximum: self.settings.stream_message_bytes,
        };
        let (handler, peer) = (Arc::clone(&self.handler), Arc::clone(&self.peer));
        let task = self.tasks.spawn(async move {
            let served = handler.serve_stream(peer, opening, sender).await;
            ending.become_known(match served {
                Ok(()) => StreamEnd::Complete,
                Err(NotServed::Anybody) => StreamEnd::NotServed,
                Err(NotServed::Stranger) => StreamEnd::Stranger,
            });
            stream
        });
        self.streams.insert(stream, Serving { credit, task });
        Ok(())
    }
}

/// Tells the reader how its stream ended, behind everything that was sent on it; also after a panic.
struct Ending {
    stream: u64,
    end: StreamEnd,
    place: Option<OwnedSemaphorePermit>,
    outgoing: UnboundedSender<Outgoing>,
}

impl Ending {
    fn become_known(mut self, end: StreamEnd) {
        self.end = end;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some((reason, place)) = self.end.number().zip(self.place.take()) {
            // The connection may have ended.
            let _ = self.outgoing.send((Frame::End { stream: self.stream, reason }, place));
        }
    }
}

async fn send(writer: &mut Writer, mut to_send: UnboundedReceiver<Outgoing>, ping_every: Duration) -> ConnectionError {
    loop {
        let written = match timeout(ping_every, to_send.recv()).await {
            Err(_) => writer.write(&Frame::Ping).await,
            Ok(Some((frame, _place))) => writer.write(&frame).await,
            // The other half of the connection holds a sender, and ends it.
            Ok(None) => pending().await,
        };
        if let Err(error) = written {
            return error;
        }
    }
}
