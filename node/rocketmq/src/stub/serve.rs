//! One connection of a stub: takes frames off the stream, lets faults happen, answers.
//!
//! Requests are executed in the order of their arrival. One that waits (a long poll, a delay) does not hold up the
//! others and ends with the connection.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Fault, Shared, lock};
use crate::wire::code::request::PULL_MESSAGE;
use crate::wire::code::response::{NO_PERMISSION, PULL_NOT_FOUND, SYSTEM_BUSY};
use crate::wire::frame::{self, FLAG_ONE_WAY, FLAG_RESPONSE, Fields, Frame, MAX_FRAME_BYTES, Serialization};
use crate::wire::sign;

/// What brokers send to clients of a group whose members changed.
const NOTIFY_CONSUMER_IDS_CHANGED: i32 = 40;

/// Room for one read.
const READ_ROOM: usize = 64 * 1024;

struct Connection<W> {
    shared: Arc<Shared>,
    peer: SocketAddr,
    write: Arc<Mutex<W>>,
    /// Requests that are answered later; dropped with the connection.
    held: JoinSet<()>,
}

/// Serves until the peer closes, sends what is no frame, or a fault closes.
pub(super) async fn serve<R, W>(mut read: R, write: W, peer: SocketAddr, shared: &Arc<Shared>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let write = Arc::new(Mutex::new(write));
    let mut connection = Connection { shared: Arc::clone(shared), peer, write, held: JoinSet::new() };
    let mut buffer = BytesMut::new();
    loop {
        loop {
            match frame::split(&mut buffer, MAX_FRAME_BYTES) {
                Ok(Some(bytes)) => {
                    if connection.handle(bytes).await.is_none() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if buffer.is_empty() {
            buffer.reserve(READ_ROOM);
        }
        if !matches!(read.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
        while connection.held.try_join_next().is_some() {}
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> Connection<W> {
    /// `None` means that the connection is to be closed.
    async fn handle(&mut self, bytes: Bytes) -> Option<()> {
        let serialization = frame::serialization(&bytes).ok()?;
        let request = frame::decode(bytes).ok()?;
        match self.shared.next_fault(request.code) {
            None => {}
            Some(Fault::Close) => return None,
            Some(Fault::Silence) => return Some(()),
            Some(Fault::ExecuteThenClose) => {
                execute(&self.shared, &request, self.peer);
                return None;
            }
            Some(Fault::CloseMidFrame) => {
                let answer = encoded(&execute(&self.shared, &request, self.peer), serialization)?;
                self.send(answer.get(..answer.len() / 2)?).await;
                return None;
            }
            Some(Fault::Announce(size)) => {
                self.send(&size.to_be_bytes()).await;
                self.send(b"and then nothing").await;
                return Some(());
            }
            Some(Fault::Garbage(garbage)) => {
                self.send(&garbage).await;
                return Some(());
            }
            Some(Fault::Answer(code, remark)) => {
                self.send(&encoded(&answer_to(&request, code, Some(remark)), serialization)?).await;
                return Some(());
            }
            Some(Fault::Delay(delay)) => {
                let (shared, write, peer) = (Arc::clone(&self.shared), Arc::clone(&self.write), self.peer);
                self.held.spawn(async move {
                    sleep(delay).await;
                    send(&write, &execute(&shared, &request, peer), serialization).await;
                });
                return Some(());
            }
            Some(Fault::NotifyFirst) => {
                let mut notice = Frame::request(NOTIFY_CONSUMER_IDS_CHANGED, Fields::new(), Bytes::new());
                notice.opaque = request.opaque;
                notice.flag = FLAG_ONE_WAY;
                self.send(&encoded(&notice, serialization)?).await;
            }
            Some(Fault::StrayFirst) => {
                let mut stray = answer_to(&request, 0, None);
                stray.opaque = request.opaque.wrapping_add(1_000_000);
                self.send(&encoded(&stray, serialization)?).await;
            }
        }
        let answer = execute(&self.shared, &request, self.peer);
        match held_until(&request, &answer) {
            None => self.send(&encoded(&answer, serialization)?).await,
            Some(deadline) => {
                let (shared, write, peer) = (Arc::clone(&self.shared), Arc::clone(&self.write), self.peer);
                self.held.spawn(async move {
                    send(&write, &long_poll(&shared, &request, peer, deadline).await, serialization).await;
                });
            }
        }
        Some(())
    }

    async fn send(&self, bytes: &[u8]) {
        // A peer that is gone ends the connection at the next read.
        let _gone = self.write.lock().await.write_all(bytes).await;
        let _gone = self.write.lock().await.flush().await;
    }
}

async fn send<W: AsyncWrite + Unpin>(write: &Mutex<W>, answer: &Frame, serialization: Serialization) {
    if let Some(bytes) = encoded(answer, serialization) {
        let mut write = write.lock().await;
        let _gone = write.write_all(&bytes).await;
        let _gone = write.flush().await;
    }
}

fn encoded(answer: &Frame, serialization: Serialization) -> Option<BytesMut> {
    let mut bytes = BytesMut::new();
    frame::encode(answer, serialization, &mut bytes).ok()?;
    Some(bytes)
}

/// An answer without fields or body.
pub(super) fn answer_to(request: &Frame, code: i32, remark: Option<String>) -> Frame {
    Frame { code, opaque: request.opaque, flag: FLAG_RESPONSE, remark, ..Frame::default() }
}

fn execute(shared: &Shared, request: &Frame, peer: SocketAddr) -> Frame {
    if let Some(credentials) = &shared.options.credentials {
        let mut expected = request.fields.clone();
        sign::sign(credentials, &mut expected, &request.body);
        if expected.get("Signature") != request.fields.get("Signature") {
            return answer_to(request, NO_PERMISSION, Some("check signature failed.".to_owned()));
        }
    }
    if shared.options.refuses_pulls && request.code == PULL_MESSAGE {
        let remark = "[REJECTREQUEST]system busy, start flow control for a while";
        return answer_to(request, SYSTEM_BUSY, Some(remark.to_owned()));
    }
    let (answer, stored) = lock(&shared.store).execute(request, peer, shared.options.is_proxy);
    if stored {
        shared.stored.notify_waiters();
    }
    answer
}

/// Until when a pull that found nothing waits for a message.
fn held_until(request: &Frame, answer: &Frame) -> Option<Instant> {
    let suspend = request.code == PULL_MESSAGE
        && answer.code == PULL_NOT_FOUND
        && request.fields.parse::<i32>("sysFlag").is_ok_and(|flag| flag & 2 != 0);
    let millis = request.fields.parse("suspendTimeoutMillis").ok()?;
    suspend.then(|| Instant::now() + Duration::from_millis(millis))
}

async fn long_poll(shared: &Shared, request: &Frame, peer: SocketAddr, deadline: Instant) -> Frame {
    loop {
        let mut stored = pin!(shared.stored.notified());
        stored.as_mut().enable();
        let answer = execute(shared, request, peer);
        if answer.code != PULL_NOT_FOUND || timeout_at(deadline, stored).await.is_err() {
            return answer;
        }
    }
}
