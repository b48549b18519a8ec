//! One connection that many requests share: answers find their requests by number.
//!
//! ```text
//!   exchange() --+--> writer lock --> head, body --> socket
//!                |                                     |
//!                +--- waits --- Pending <--- reader task
//! ```
//!
//! Parts: [`Session`]; [`Terms`] of one exchange; [`Failure`], which also tells whether the peer can have executed the
//! request. No task per request: the caller writes, one reader task per connection splits frames off one buffer. The
//! reader runs on the runtime that opened the session; use a client on one runtime thread for the least cost.
//! A frame is executed by a broker only when its last bytes arrived (measured on 4.9.7, 5.3.3 and 5.5.0). So a request
//! whose last bytes never reached the kernel provably did nothing, and every way of leaving with bytes possibly in
//! flight closes the connection. Never writes on behind a frame that was left half-written.
//!
//! A permit is asked directly before each write, and a large frame under one ends with a write of a few bytes. Between
//! the answer and the end of that system call nobody asks: a process, or its whole machine, that is stopped right there
//! still hands the frame over when it goes on. What the kernel was handed over it delivers until its user timeout.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Mutex, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::error::Error;
use crate::pending::{Answer, Pending};
use crate::socket::{ReadSide, SocketOptions, WriteSide, connect};
use crate::wire::frame::{self, Frame, MAX_FRAME_BYTES, Serialization};

/// Asked directly before bytes of a request leave; `false` keeps them back. Must be quick: it runs before each write.
pub(crate) type Check<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// A frame with a permit that is larger than this ends with a write of its own. Copying as much takes the kernel some
/// microseconds; of a batch of a mebibyte it may be stopped half-way for much longer, with the answer long given.
const LARGE_FRAME_BYTES: usize = 64 * 1024;

/// What that write holds. It has to be a part of the frame that its execution needs, so any one byte would do.
const HELD_BACK_BYTES: usize = 64;

/// Smallest and largest room that a read offers when the size of the next frame is not known.
const READ_ROOM: (usize, usize) = (16 * 1024, 512 * 1024);

/// How one exchange is to be done.
pub(crate) struct Terms<'a> {
    /// Longest time for everything, from the first wait to the answer.
    pub(crate) patience: Duration,
    /// How the header is written.
    pub(crate) serialization: Serialization,
    /// Asked before every write, the one with the last bytes included.
    pub(crate) permit: Option<Check<'a>>,
    /// Close the connection when the request is given up unanswered, so that it cannot be executed much later.
    pub(crate) close_when_abandoned: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// `false`: the last bytes of the request never left, so no peer can have executed it.
    pub(crate) possibly_executed: bool,
}

/// One live connection.
pub(crate) struct Session {
    pending: Arc<Pending>,
    writer: Mutex<Option<Writer>>,
    reader: AbortHandle,
    generation: u64,
    opened: Instant,
    /// When it was last used, in milliseconds since `opened`.
    used: AtomicU64,
}

struct Writer {
    side: WriteSide,
    /// Reused for every header.
    head: BytesMut,
    /// A frame was begun and not ended: no other may follow.
    midway: bool,
}

impl Session {
    /// Connects and starts the reader. `generation` tells this connection from every other one of the process.
    pub(crate) async fn open(address: Arc<str>, options: &SocketOptions, generation: u64) -> Result<Self, Error> {
        let (read, write) = connect(&address, options).await?;
        let pending = Arc::new(Pending::new(address));
        let reader = tokio::spawn(receive(read, Arc::clone(&pending))).abort_handle();
        let writer = Mutex::new(Some(Writer { side: write, head: BytesMut::new(), midway: false }));
        Ok(Self { pending, writer, reader, generation, opened: Instant::now(), used: AtomicU64::new(0) })
    }

    /// The number given to [`Self::open`].
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the connection is lost.
    pub(crate) fn is_closed(&self) -> bool {
        self.pending.is_closed()
    }

    /// Requests that wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// How long nothing was sent.
    pub(crate) fn idle(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    /// Ends the connection. Every waiter gets `reason`.
    pub(crate) fn close(&self, reason: Error) {
        self.pending.lose(reason);
        self.reader.abort();
        // Somebody who writes right now sees the loss before the next write and drops the writer himself.
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.take();
        }
    }

    /// Sends a request and waits for its answer, whatever its response code. `request.opaque` is set here; fields must
    /// be complete and signed before.
    pub(crate) async fn exchange(&self, mut request: Frame, terms: Terms<'_>) -> Result<Frame, Failure> {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(millis, Ordering::Relaxed);
        let (opaque, answer) = self.pending.register().map_err(Failure::nothing_left)?;
        request.opaque = opaque;
        let received_before = self.pending.received();
        let call = Call { session: self, opaque, stage: AtomicU8::new(QUEUED), close: terms.close_when_abandoned };
        match timeout(terms.patience, self.write_and_wait(&request, &terms, &call, answer)).await {
            Ok(Ok(frame)) => {
                call.stage.store(DONE, Ordering::Relaxed);
                Ok(frame)
            }
            Ok(Err(error)) => {
                let possibly_executed = call.stage.load(Ordering::Relaxed) == WRITTEN;
                Err(Failure { error, possibly_executed })
            }
            Err(_) => {
                let possibly_executed = call.stage.load(Ordering::Relaxed) == WRITTEN;
                let address = self.pending.address().to_string();
                let error = Error::Timeout { address, request: request.code, after: terms.patience };
                if possibly_executed && self.pending.received() == received_before {
                    // Nothing at all arrived meanwhile: the connection itself is in doubt.
                    self.close(error.clone());
                }
                Err(Failure { error, possibly_executed })
            }
        }
    }

    async fn write_and_wait(
        &self,
        request: &Frame,
        terms: &Terms<'_>,
        call: &Call<'_>,
        answer: oneshot::Receiver<Answer>,
    ) -> Result<Frame, Error> {
        self.write(request, terms, &call.stage).await?;
        answer.await.unwrap_or_else(|_| Err(self.pending.reason()))
    }

    async fn write(&self, request: &Frame, terms: &Terms<'_>, stage: &AtomicU8) -> Result<(), Error> {
        let mut slot = self.writer.lock().await;
        let Some(writer) = slot.as_mut().filter(|writer| !writer.midway && !self.pending.is_closed()) else {
            slot.take();
            return Err(self.pending.reason());
        };
        writer.head.clear();
        frame::encode_head(request, request.body.len(), terms.serialization, &mut writer.head).map_err(unencodable)?;
        let mut progress = Progress::new(writer.head.len().saturating_add(request.body.len()), terms.permit.is_some());
        let outcome =
            poll_fn(|context| self.poll_send(context, writer, &request.body, terms, &mut progress, stage)).await;
        match outcome {
            Ok(()) => {
                stage.store(WRITTEN, Ordering::Relaxed);
                writer.midway = false;
                Ok(())
            }
            Err(error) => {
                if writer.midway {
                    slot.take();
                    self.pending.lose(match &error {
                        Error::PermitWithdrawn => self.lost("a half-written frame was given up"),
                        other => other.clone(),
                    });
                    self.reader.abort();
                }
                Err(error)
            }
        }
    }

    /// Writes on until everything is with the kernel. Asks for the permit before each attempt, so that no attempt hands
    /// over the last bytes without an answer that is only instructions old. Ready with success means that they are
    /// handed over, pending or an error that they are not.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        writer: &mut Writer,
        body: &[u8],
        terms: &Terms<'_>,
        progress: &mut Progress,
        stage: &AtomicU8,
    ) -> Poll<Result<(), Error>> {
        loop {
            if self.pending.is_closed() {
                return Poll::Ready(Err(self.pending.reason()));
            }
            if progress.is_midway() {
                // What TLS still holds of an earlier part goes first: the answer is about the next part alone.
                match writer.side.poll_flush(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(self.pending.address(), &error))),
                    Poll::Pending => return self.stall(context),
                }
            }
            if terms.permit.is_some_and(|permitted| !permitted()) {
                return Poll::Ready(Err(Error::PermitWithdrawn));
            }
            writer.midway = true;
            stage.store(WRITING, Ordering::Relaxed);
            let mut step = Poll::Ready(Ok(0));
            if !progress.is_over() {
                let (head, body) = progress.next_part(&writer.head, body);
                step = writer.side.poll_write(context, head, body);
            }
            if let Poll::Ready(Ok(count)) = step {
                progress.sent = progress.sent.saturating_add(count);
                if !progress.is_over() {
                    continue;
                }
                // No question between the last bytes and their flush: they may be out already.
                step = writer.side.poll_flush(context).map_ok(|()| 0);
            }
            match step {
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(self.pending.address(), &error))),
                Poll::Pending => return self.stall(context),
            }
        }
    }

    /// Waits for room in the socket's buffer, or for the end of the connection.
    fn stall(&self, context: &Context<'_>) -> Poll<Result<(), Error>> {
        self.pending.stall(context.waker());
        if self.pending.is_closed() { Poll::Ready(Err(self.pending.reason())) } else { Poll::Pending }
    }

    fn lost(&self, reason: impl ToString) -> Error {
        lost(self.pending.address(), reason)
    }
}

/// How far a frame is written.
struct Progress {
    sent: usize,
    total: usize,
    /// Where the part begins that leaves by itself; `total` where there is none.
    held_from: usize,
}

impl Progress {
    fn new(total: usize, has_permit: bool) -> Self {
        let holds_back = has_permit && total > LARGE_FRAME_BYTES;
        let held_from = if holds_back { total.saturating_sub(HELD_BACK_BYTES) } else { total };
        Self { sent: 0, total, held_from }
    }

    fn is_midway(&self) -> bool {
        self.sent > 0 && !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.sent >= self.total
    }

    /// What the next write may take, of the head and of the body.
    fn next_part<'a>(&self, head: &'a [u8], body: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let end = if self.sent < self.held_from { self.held_from } else { self.total };
        let within = |part: &'a [u8], before: usize| {
            let (from, to) = (self.sent.saturating_sub(before), end.saturating_sub(before).min(part.len()));
            part.get(from..to).unwrap_or_default()
        };
        (within(head, 0), within(body, head.len()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Failure {
    pub(crate) fn nothing_left(error: Error) -> Self {
        Self { error, possibly_executed: false }
    }
}

const QUEUED: u8 = 0;
const WRITING: u8 = 1;
const WRITTEN: u8 = 2;
const DONE: u8 = 3;

/// A request under way. Dropping it unanswered takes back its reservation and, where the peer could still execute it or
/// the frame is half-written, closes the connection.
struct Call<'a> {
    session: &'a Session,
    opaque: i32,
    stage: AtomicU8,
    close: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let stage = self.stage.load(Ordering::Relaxed);
        if stage == DONE {
            return;
        }
        self.session.pending.forget(self.opaque);
        if stage == WRITING || (stage == WRITTEN && self.close) {
            self.session.close(self.session.lost("a request was given up unanswered"));
        }
    }
}

/// Reads frames until the connection ends, and gives answers to their waiters.
async fn receive(mut source: ReadSide, pending: Arc<Pending>) {
    let reason = match receive_frames(&mut source, &pending).await {
        Ok(()) if pending.received() == 0 && matches!(source, ReadSide::Plain(_)) => {
            lost(pending.address(), "closed by the peer before its first answer, as a server does that requires TLS")
        }
        Ok(()) => lost(pending.address(), "closed by the peer"),
        Err(error) => error,
    };
    // First close, then tell: whoever hears of the loss can rely on the socket being gone from this side.
    drop(source);
    pending.lose(reason);
}

async fn receive_frames(source: &mut ReadSide, pending: &Pending) -> Result<(), Error> {
    let address = pending.address();
    let malformed = |error: frame::Error| Error::malformed(address, error);
    let mut buffer = BytesMut::with_capacity(READ_ROOM.0);
    let mut expected = READ_ROOM.0;
    loop {
        while let Some(bytes) = frame::split(&mut buffer, MAX_FRAME_BYTES).map_err(malformed)? {
            // Follow the frame size up at once and down slowly, so that a steady flow is read in one call per frame.
            expected = bytes.len().saturating_add(1024).max(expected - expected / 8).clamp(READ_ROOM.0, READ_ROOM.1);
            let frame = frame::decode(bytes).map_err(malformed)?;
            if frame.is_response() {
                pending.complete(frame);
            } else {
                // Brokers notify clients of group changes and the like; a client that never registers needs none of it.
                tracing::trace!(code = frame.code, %address, "request from the server ignored");
            }
        }
        if buffer.is_empty() {
            buffer.reserve(expected);
        }
        match source.read(&mut buffer).await {
            Ok(0) if buffer.is_empty() => return Ok(()),
            Ok(0) => return Err(lost(address, "closed by the peer in the middle of a frame")),
            Ok(_) => {}
            Err(error) => return Err(broken(address, &error)),
        }
    }
}

/// What an error of the socket means. With TLS 1.3 a server's refusal of the client certificate arrives only here.
fn broken(address: &str, error: &io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return Error::Tls { address: address.to_owned(), reason: error.to_string() };
    }
    match error.kind() {
        io::ErrorKind::TimedOut => lost(address, "sent bytes were not acknowledged in time"),
        _ => lost(address, error),
    }
}

fn lost(address: &str, reason: impl ToString) -> Error {
    Error::ConnectionLost { address: address.to_owned(), reason: reason.to_string() }
}

fn unencodable(error: frame::Error) -> Error {
    match error {
        frame::Error::FrameLength { length, limit } => {
            Error::TooLarge { what: "frame", size: usize::try_from(length).unwrap_or(usize::MAX), limit }
        }
        frame::Error::HeaderLength { length, .. } => {
            Error::TooLarge { what: "header", size: length, limit: frame::MAX_HEADER_BYTES }
        }
        other => Error::Settings(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_of_a_frame_are_the_frame_and_the_last_one_is_held_back_if_it_is_large(
            (head, body) in (1_usize..3_000, prop_oneof![0_usize..300, 62_000_usize..67_000, 900_000_usize..1_100_000]),
            has_permit: bool,
            takes in prop::collection::vec(1_usize..400_000, 1..40),
        ) {
            let frame: Vec<u8> = (0..=250_u8).cycle().take(head + body).collect();
            let (head, body) = frame.split_at(head);
            let mut progress = Progress::new(frame.len(), has_permit);
            let (mut written, mut last) = (Vec::new(), 0);
            let mut takes = takes.into_iter().chain([400_000]).cycle();
            while !progress.is_over() {
                let (first, second) = progress.next_part(head, body);
                let part = [first, second].concat();
                prop_assert!(!part.is_empty());
                last = part.len();
                // A socket takes what it has room for.
                let taken = last.min(takes.next().unwrap());
                written.extend_from_slice(&part[..taken]);
                progress.sent += taken;
            }
            prop_assert!(written == frame);
            if has_permit && frame.len() > LARGE_FRAME_BYTES {
                prop_assert!(last <= HELD_BACK_BYTES);
            }
        }
    }

    #[test]
    fn a_frame_of_the_usual_kind_leaves_in_one_write() {
        for (total, has_permit, whole) in [
            (200, true, true),
            (LARGE_FRAME_BYTES, true, true),
            (LARGE_FRAME_BYTES + 1, true, false),
            (1 << 20, false, true),
        ] {
            let frame = vec![0; total];
            let (head, body) = frame.split_at(100);
            let (first, second) = Progress::new(total, has_permit).next_part(head, body);
            assert_eq!(first.len() + second.len() == total, whole, "{total} {has_permit}");
        }
    }
}
