//! The cluster's handle behind the traits that supervision and the HTTP interface declare.

use std::sync::Arc;

use causeway_cluster::liveness::Signs;
use causeway_cluster::transport::{LinkState, PeerStatus};
use causeway_cluster::{Backup, ChangeRefusal, Error, Group, MemberStatus, Role};
use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::node::MemberRole;
use causeway_core::outcome::Outcome;
use causeway_core::plan::{Conditions, MemberChange, Members};
use causeway_core::state::State;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::admin::model::status::RaftStatus;
use crate::admin::seam::{Cluster, Member, NoBackup, NoTransfer, ProposeError};
use crate::supervisor::authority::Authority;
use crate::supervisor::proposer::Proposer;

impl Proposer for Group {
    type Error = Error;

    async fn propose(&self, command: Command) -> Result<Outcome, Error> {
        Group::propose(self, command).await
    }

    fn view(&self) -> Arc<State> {
        Group::view(self)
    }

    fn watch(&self) -> watch::Receiver<Arc<State>> {
        Group::watch(self)
    }
}

impl Authority for Group {
    fn signs(&self) -> Option<(u64, Signs)> {
        Group::signs(self)
    }

    fn conditions(&self) -> Option<(u64, Conditions)> {
        Group::conditions(self)
    }

    fn begin_taking(&self, term: u64, nodes: Vec<NodeId>) {
        Group::begin_taking(self, term, nodes);
    }

    fn end_taking(&self, term: u64) {
        Group::end_taking(self, term);
    }

    async fn propose_in(&self, term: u64, command: Command) -> Result<Outcome, Error> {
        Group::propose_in(self, term, command).await
    }

    fn members(&self) -> Option<Members> {
        Group::members(self)
    }

    async fn change_member(&self, change: MemberChange) -> Result<(), Error> {
        Group::change_member(self, change).await
    }

    async fn hand_over(&self) -> Result<(), Error> {
        Group::hand_over(self).await
    }
}

impl Cluster for Group {
    fn view(&self) -> Arc<State> {
        Group::view(self)
    }

    fn propose(&self, command: Command) -> BoxFuture<'static, Result<Outcome, ProposeError>> {
        let cluster = self.clone();
        async move { Group::propose(&cluster, command).await.map_err(|error| not_done(&cluster, &error)) }.boxed()
    }

    fn backup(&self, stale: bool) -> BoxFuture<'static, Result<Backup, NoBackup>> {
        let cluster = self.clone();
        async move {
            Group::backup(&cluster, stale).await.map_err(|error| match error {
                Error::Unstorable { .. } | Error::Fatal(_) => NoBackup::Failed(error.to_string()),
                other => NoBackup::Unconfirmed(cluster.reasons().explain(&other)),
            })
        }
        .boxed()
    }

    fn members(&self) -> Vec<Member> {
        let (status, peers) = (self.status(), self.peers());
        let seen = |member: &MemberStatus| Member {
            node: member.node,
            role: Some(if member.is_voter() { MemberRole::Voter } else { MemberRole::Learner }),
            connection: peers.get(&member.node).map(connection),
        };
        status.members.iter().map(seen).collect()
    }

    fn transfer_leader(&self, to: Option<NodeId>) -> BoxFuture<'static, Result<(), NoTransfer>> {
        let cluster = self.clone();
        async move { Group::transfer_leader(&cluster, to).await.map_err(|error| not_handed_over(&cluster, &error)) }
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
            apply_lag_entries: status.committed.saturating_sub(status.applied),
            nodes: Group::view(self).nodes.len(),
            removed: self.removed(),
        }
    }
}

fn not_done(cluster: &Group, error: &Error) -> ProposeError {
    ProposeError {
        outcome_is_unknown: error.outcome_is_unknown(),
        leader: if let Error::NotLeader { leader } = error { *leader } else { None },
        why: cluster.reasons().explain(error),
    }
}

/// What somebody has to mend first is told apart from what passes by itself.
fn not_handed_over(cluster: &Group, error: &Error) -> NoTransfer {
    use ChangeRefusal::{NoSuccessor, NotCaughtUp, NotVoter};
    match error {
        Error::Change(NotVoter { .. }) => NoTransfer::CannotLead(format!(
            "{}: only a voter leads, so a learner has to be made one first with `causeway cluster promote`",
            cluster.reasons().explain(error)
        )),
        Error::Change(NotCaughtUp { .. } | NoSuccessor) | Error::NotTransferred { .. } => {
            NoTransfer::CannotLead(cluster.reasons().explain(error))
        }
        error => NoTransfer::Failed(not_done(cluster, error)),
    }
}

fn connection(peer: &PeerStatus) -> String {
    match &peer.state {
        LinkState::Connecting => "connecting".to_owned(),
        LinkState::Connected { .. } => "connected".to_owned(),
        LinkState::Refused(refusal) => format!("refused: {refusal}"),
        LinkState::Disconnected(error) => format!("disconnected: {error}"),
    }
}
