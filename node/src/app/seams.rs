//! The cluster's handle behind the traits that supervision and the HTTP interface declare.

use std::sync::Arc;

use causeway_cluster::{Error, Handle, Role};
use causeway_core::command::Command;
use causeway_core::outcome::Outcome;
use causeway_core::state::State;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::admin::model::status::RaftStatus;
use crate::admin::seam::{Cluster, ProposeError};
use crate::supervisor::proposer::Proposer;

impl Proposer for Handle {
    type Error = Error;

    async fn propose(&self, command: Command) -> Result<Outcome, Error> {
        Handle::propose(self, command).await
    }

    fn view(&self) -> Arc<State> {
        Handle::view(self)
    }

    fn watch(&self) -> watch::Receiver<Arc<State>> {
        Handle::watch(self)
    }
}

impl Cluster for Handle {
    fn view(&self) -> Arc<State> {
        Handle::view(self)
    }

    fn propose(&self, command: Command) -> BoxFuture<'static, Result<Outcome, ProposeError>> {
        let cluster = self.clone();
        async move {
            Handle::propose(&cluster, command).await.map_err(|error| ProposeError {
                outcome_is_unknown: error.outcome_is_unknown(),
                leader: if let Error::NotLeader { leader } = &error { *leader } else { None },
                why: error.to_string(),
            })
        }
        .boxed()
    }

    fn raft(&self) -> RaftStatus {
        let status = self.status();
        let role = match status.role {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
        };
        RaftStatus {
            role: role.to_owned(),
            leader: status.leader,
            term: status.term,
            applied_index: status.applied,
            nodes: Handle::view(self).nodes.len(),
        }
    }
}
