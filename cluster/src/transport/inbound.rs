//! One connection that another node opened: hands on what arrives, sends the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::budget::{Budget, Share};
use super::error::ConnectionError;
use super::frame::Frame;
use super::handler::Handler;
use super::handshake::{Connection, Reader, Writer};
use super::hello::Peer;
use super::pieces::{Assembler, Assemblies, Progress};
use super::refusal::{Refusal, RefusalCode};
use super::registry::Pass;
use super::settings::Settings;
use super::socket::LINGER_BYTES;

/// Short frames that may wait to be sent beside the answers of the requests in progress.
const SHORT_FRAMES: usize = 64;
/// How long a side that refused listens on, so that its refusal arrives.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A frame, and the place of its request, which is free when the frame was sent.
type Answer = (Frame, Option<Share>);

/// Runs the connection until it ends, and tells why it did. All requests in progress have ended then, too.
pub(crate) async fn run<H: Handler>(
    connection: Connection,
    handler: Arc<H>,
    settings: &Settings,
    assemblies: Arc<Assemblies>,
    mut stop: watch::Receiver<bool>,
) -> ConnectionError {
    let Connection { peer, pass, reader, mut writer, .. } = connection;
    let (answers, mut to_send) = mpsc::channel(settings.requests.saturating_add(SHORT_FRAMES));
    let mut inbound = Inbound {
        assembler: Assembler::new(assemblies, peer.identity.node),
        in_progress: Budget::new(settings.requests, settings.request_bytes),
        maximum_body_bytes: settings.maximum_body_bytes(),
        requests: JoinSet::new(),
        peer,
        pass,
        reader,
        handler,
        answers,
    };
    let ended = tokio::select! {
        error = inbound.hear() => error,
        error = send(&mut writer, &mut to_send, settings.ping_every) => error,
        _ = stop.wait_for(|stop| *stop) => ConnectionError::GivenUp,
    };
    inbound.requests.shutdown().await;
    ended
}

struct Inbound<H> {
    peer: Arc<Peer>,
    pass: Pass,
    reader: Reader,
    handler: Arc<H>,
    assembler: Assembler,
    in_progress: Arc<Budget>,
    maximum_body_bytes: usize,
    requests: JoinSet<()>,
    answers: mpsc::Sender<Answer>,
}

impl<H: Handler> Inbound<H> {
    async fn hear(&mut self) -> ConnectionError {
        loop {
            let heard = match self.next().await {
                Ok(Some(frame)) => self.take(frame).await,
                Ok(None) => self.give_up_late_message(),
                Err(error) => Err(error),
            };
            if let Err(error) = heard {
                return error;
            }
        }
    }

    /// The next frame; none when the time of the message that is being put together is over.
    async fn next(&mut self) -> Result<Option<Frame>, ConnectionError> {
        match self.assembler.deadline() {
            None => self.reader.next().await.map(Some),
            Some(deadline) => timeout_at(deadline, self.reader.next()).await.map_or(Ok(None), |read| read.map(Some)),
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        self.pass.heard();
        match frame {
            Frame::Ping => Ok(()),
            Frame::Request { id, body } => self.begin(id, body),
            Frame::Raft(_) | Frame::Piece { .. } if !self.peer.is_member => Err(self.refuse_stranger().await),
            Frame::Raft(message) => {
                self.handler.raft(self.peer.identity.node, message.into());
                Ok(())
            }
            Frame::Piece { message, index, total_bytes, bytes } => {
                match self.assembler.take(message, index, total_bytes, &bytes) {
                    Progress::More => Ok(()),
                    Progress::GivenUp(reason) => self.answer_message(message, reason),
                    Progress::Whole(whole) => {
                        self.handler.raft(self.peer.identity.node, whole);
                        self.answer_message(message, "")
                    }
                }
            }
            Frame::Refused(refusal) => Err(ConnectionError::Refused(Refusal::decode(&refusal))),
            other => Err(ConnectionError::Unexpected { kind: other.kind() }),
        }
    }

    fn give_up_late_message(&mut self) -> Result<(), ConnectionError> {
        match self.assembler.expire() {
            Some((message, reason)) => self.answer_message(message, reason),
            None => Ok(()),
        }
    }

    fn answer_message(&self, message: u64, reason: &'static str) -> Result<(), ConnectionError> {
        self.answer(Frame::PieceAnswer { message, reason: Bytes::from_static(reason.as_bytes()) })
    }

    /// Starts a request, or tells that there are too many.
    fn begin(&mut self, id: u64, body: Bytes) -> Result<(), ConnectionError> {
        while self.requests.try_join_next().is_some() {}
        let Some(share) = self.in_progress.take(body.len()) else { return self.answer(Frame::Busy { id }) };
        let unanswered = Unanswered { id, share: Some(share), answers: self.answers.clone() };
        let (handler, peer, maximum) = (Arc::clone(&self.handler), Arc::clone(&self.peer), self.maximum_body_bytes);
        self.requests.spawn(async move {
            let answer = handler.request(peer, body.into()).await;
            match answer.len() {
                bytes if bytes > maximum => tracing::error!(bytes, maximum, "an answer is too large to be sent"),
                _ => unanswered.answer(answer),
            }
        });
        Ok(())
    }

    /// Queues a short frame. The other side is cut off when it asks for ever more without reading the answers.
    fn answer(&self, frame: Frame) -> Result<(), ConnectionError> {
        self.answers.try_send((frame, None)).map_err(|_| ConnectionError::Overrun)
    }

    /// Raft messages come from members only: a node that lost its disk or belongs elsewhere must not be heard.
    async fn refuse_stranger(&mut self) -> ConnectionError {
        let reason = format!("{} sends Raft messages without being in this node's cluster", self.peer.identity.name);
        let refusal = Refusal::new(RefusalCode::NotMember, reason);
        if let Err(error) = self.answer(Frame::Refused(refusal.encode())) {
            return error;
        }
        // The other half sends the refusal meanwhile. Out of time or not, the connection ends here.
        let _ = timeout(LAST_WORDS, self.reader.drain(LINGER_BYTES)).await;
        ConnectionError::Refusing(refusal)
    }
}

/// A request in progress. Whoever asked is told when it ends without an answer, also by a panic.
struct Unanswered {
    id: u64,
    share: Option<Share>,
    answers: mpsc::Sender<Answer>,
}

impl Unanswered {
    fn answer(mut self, body: Vec<u8>) {
        self.send(Frame::Response { id: self.id, body: body.into() });
    }

    fn send(&mut self, frame: Frame) {
        if let Some(share) = self.share.take() {
            // There is room for one frame of each request in progress, unless the connection has ended.
            let _ = self.answers.try_send((frame, Some(share)));
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.send(Frame::Failed { id: self.id });
    }
}

async fn send(writer: &mut Writer, to_send: &mut mpsc::Receiver<Answer>, ping_every: Duration) -> ConnectionError {
    loop {
        let (frame, _share) = match timeout(ping_every, to_send.recv()).await {
            Err(_) => (Frame::Ping, None),
            Ok(Some(answer)) => answer,
            Ok(None) => return ConnectionError::GivenUp,
        };
        if let Err(error) = writer.write(&frame).await {
            return error;
        }
        if matches!(frame, Frame::Refused(_)) {
            // The other half waits until the refusal was read, and ends the connection.
            let _ = writer.close().await;
            std::future::pending::<()>().await;
        }
    }
}
