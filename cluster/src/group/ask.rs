//! Asking another node, and the leader, whoever that is.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::ids::NodeId;

use super::Group;
use super::rpc::{Answer, Request};
use crate::error::Error;
use crate::transport;

/// How long an answer of a node that leads no more may be on its way.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

impl Group {
    pub(super) async fn ask_leader(&self, request: Request) -> Result<Answer, Error> {
        self.ask_leader_within(request, self.shared.leadership.terms().length).await
    }

    pub(super) async fn ask_leader_within(&self, request: Request, limit: Duration) -> Result<Answer, Error> {
        let shared = &self.shared;
        match shared.handle.status().leader {
            Some(leader) if leader == shared.me => {
                let handler = shared.handler();
                settled(handler.answer(shared.me, request).await)
            }
            Some(leader) => self.ask_who_leads(leader, &request, limit).await,
            None => Err(Error::NotLeader { leader: None }),
        }
    }

    /// Asks a node as long as it leads. A dead leader would be waited for in vain while another one could be asked: a
    /// lease that is asked for so late is over.
    pub(super) async fn ask_who_leads(
        &self,
        leader: NodeId,
        request: &Request,
        limit: Duration,
    ) -> Result<Answer, Error> {
        tokio::select! {
            biased;
            answer = self.ask(leader, request, limit) => answer,
            () = self.leads_no_more(leader) => Err(Error::Interrupted),
        }
    }

    /// Asks any node.
    pub(super) async fn ask(&self, node: NodeId, request: &Request, limit: Duration) -> Result<Answer, Error> {
        let transport = self.shared.wire.get().map(|wire| Arc::clone(&wire.transport));
        let transport = transport.ok_or(Error::NotLeader { leader: Some(node) })?;
        let answer =
            transport.request(node, request.encode()?, limit).await.map_err(|error| from_transport(node, error))?;
        settled(Answer::decode(&answer)?)
    }

    /// Returns when this node knows of the end of a leader.
    async fn leads_no_more(&self, leader: NodeId) {
        let mut status = self.shared.handle.watch_status();
        if status.wait_for(|status| status.leader != Some(leader)).await.is_err() {
            // The replica has ended, and requests end with the transport.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST_ANSWERS).await;
    }
}

/// A failure is an error, everything else an answer.
fn settled(answer: Answer) -> Result<Answer, Error> {
    if let Answer::Failed(failure) = answer { Err(failure.into()) } else { Ok(answer) }
}

pub(super) fn unexpected(answer: Answer) -> Error {
    Error::RefusedByPeer { reason: format!("an answer to another question: {answer:?}") }
}

pub(super) fn from_transport(node: NodeId, error: transport::Error) -> Error {
    match error {
        transport::Error::Timeout { waited } => Error::Timeout { waited },
        error if error.outcome_is_unknown() => Error::Interrupted,
        transport::Error::Stopped => Error::Stopped,
        transport::Error::BufferFull | transport::Error::PeerBusy => Error::Busy,
        error => {
            tracing::debug!(%node, %error, "the leader was not reached");
            Error::NotLeader { leader: None }
        }
    }
}
