//! One connection that this node opened: sends what waits in the lanes, hears the answers.

use std::time::Duration;

use tokio::time::timeout;

use super::error::{ConnectionError, Error};
use super::frame::Frame;
use super::handshake::{Connection, Reader, Writer};
use super::lanes::{Lanes, Outgoing};
use super::large::InFlight;
use super::refusal::Refusal;
use super::registry::Pass;
use super::waiting::Waiting;

/// How long a side whose peer closed the connection looks for a reason.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the connection until it ends, and tells why it did.
pub(crate) async fn run(
    connection: Connection,
    lanes: &mut Lanes,
    waiting: &Waiting,
    ping_every: Duration,
) -> ConnectionError {
    let Connection { pass, mut reader, mut writer, .. } = connection;
    let in_flight = lanes.in_flight();
    let ended = tokio::select! {
        error = send(&mut writer, lanes, waiting, ping_every) => error,
        error = hear(&mut reader, &pass, waiting, &in_flight) => return error,
    };
    if ended != ConnectionError::Closed {
        return ended;
    }
    timeout(LAST_WORDS, hear(&mut reader, &pass, waiting, &in_flight)).await.unwrap_or(ended)
}

async fn send(writer: &mut Writer, lanes: &mut Lanes, waiting: &Waiting, ping_every: Duration) -> ConnectionError {
    loop {
        let sent = match timeout(ping_every, lanes.next()).await {
            Err(_) => writer.write(&Frame::Ping).await,
            Ok(None) => return ConnectionError::GivenUp,
            Ok(Some(Outgoing::Raft(frame, _share))) => writer.write(&frame).await,
            Ok(Some(Outgoing::Piece(frame))) => writer.write(&frame).await,
            Ok(Some(Outgoing::Request(request))) => match waiting.send(request) {
                Some(frame) => writer.write(&frame).await,
                None => Ok(()),
            },
        };
        if let Err(error) = sent {
            return error;
        }
    }
}

async fn hear(reader: &mut Reader, pass: &Pass, waiting: &Waiting, in_flight: &InFlight) -> ConnectionError {
    loop {
        let frame = match reader.next().await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        pass.heard();
        match frame {
            Frame::Ping => {}
            Frame::Response { id, body } => waiting.answer(id, Ok(body.into())),
            Frame::Busy { id } => waiting.answer(id, Err(Error::PeerBusy)),
            Frame::Failed { id } => waiting.answer(id, Err(Error::PeerFailed)),
            Frame::PieceAnswer { message, reason } => in_flight.answer(message, &reason),
            Frame::Refused(refusal) => return ConnectionError::Refused(Refusal::decode(&refusal)),
            other => return ConnectionError::Unexpected { kind: other.kind() },
        }
    }
}
