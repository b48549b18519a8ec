//! One request over a connection of its own, to a node that is no peer: how a node joins a cluster.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::name::Name;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::Error;
use super::handshake::{Endpoint, Security};
use super::hello::{Expected, Identity, Peer, Purpose};
use super::lanes::lanes;
use super::outbound;
use super::settings::Settings;
use super::waiting::Waiting;

/// An answer, and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub from: Arc<Peer>,
    /// The answer.
    pub body: Vec<u8>,
}

/// A node that asks without listening: it has not joined a cluster yet.
#[derive(Debug)]
pub struct Caller {
    endpoint: Endpoint,
}

impl Caller {
    /// Prepares calls of a node.
    ///
    /// # Errors
    /// [`Error::Settings`], also for an identity or certificate that does not fit.
    pub fn new(settings: Settings, security: Security, me: Identity) -> Result<Self, Error> {
        Ok(Self { endpoint: Endpoint::new(settings, security, me)? })
    }

    /// As [`super::Transport::request_at`].
    ///
    /// # Errors
    /// As [`super::Transport::request_at`].
    pub async fn request_at(
        &self,
        address: &str,
        expected_name: Option<Name>,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Answer, Error> {
        request_at(&self.endpoint, address, expected_name, body, limit).await
    }
}

pub(crate) async fn request_at(
    endpoint: &Endpoint,
    address: &str,
    expected_name: Option<Name>,
    body: Vec<u8>,
    limit: Duration,
) -> Result<Answer, Error> {
    let (sender, mut lanes) = lanes(&endpoint.settings);
    let (answer, asked) = oneshot::channel();
    sender.request(body, answer)?;
    let expected = Expected { node: None, name: expected_name };
    let asking = async {
        let connection = endpoint.dial(address, &expected, Purpose::Messages).await.map_err(Error::NotSent)?;
        let from = Arc::clone(&connection.peer);
        let waiting = Waiting::default();
        let body = tokio::select! {
            biased;
            answer = asked => answer.unwrap_or(Err(Error::Stopped))?,
            ended = outbound::run(connection, &mut lanes, &waiting, endpoint.settings.ping_every) => {
                return Err(Error::Interrupted(ended));
            }
        };
        Ok(Answer { from, body })
    };
    timeout(limit, asking).await.unwrap_or(Err(Error::Timeout { waited: limit }))
}
