//! What the API needs of the rest of the node: the cluster behind a small trait, and the shared values.
//!
//! Tests put the plain state machine behind the trait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway_cluster::Backup;
use causeway_core::command::Command;
use causeway_core::ids::{NodeId, Timestamp};
use causeway_core::name::Name;
use causeway_core::node::MemberRole;
use causeway_core::outcome::{Outcome, Refusal};
use causeway_core::state::State;
use futures::future::BoxFuture;

use super::answer::Error;
use super::auth::Gate;
use super::history::History;
use super::model::status::RaftStatus;
use crate::connect::Instances;
use crate::secrets::SecretStore;
use crate::status::StatusBoard;
use crate::status::node::NodeBoard;
use crate::telemetry::{RateHistory, ScrapeOptions};

/// The agreed state, and the way to change it.
pub trait Cluster: Send + Sync {
    /// The state as this node knows it.
    fn view(&self) -> Arc<State>;

    /// Proposes a command. The future ends when the command was applied here, so that [`Self::view`] shows it.
    fn propose(&self, command: Command) -> BoxFuture<'static, Result<Outcome, ProposeError>>;

    /// What this node knows of the Raft group; `nodes` is filled in by the caller from the state.
    fn raft(&self) -> RaftStatus;

    /// Everything that is agreed on, as the file of a backup; with `stale` what this node has applied, without asking
    /// anybody.
    fn backup(&self, stale: bool) -> BoxFuture<'static, Result<Backup, NoBackup>>;

    /// What this node knows of each member.
    fn members(&self) -> Vec<Member>;

    /// Has leadership handed over, to this voter or to the one that lacks least; nothing else is changed by it.
    fn transfer_leader(&self, to: Option<NodeId>) -> BoxFuture<'static, Result<(), NoTransfer>>;
}

/// What this node knows of a member beyond the agreed state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// What it is in the Raft group; none where it is no member.
    pub role: Option<MemberRole>,
    /// `connected`, or why this node does not reach it; none for this node itself.
    pub connection: Option<String>,
}

impl Member {
    /// Nothing is known.
    #[must_use]
    pub fn unknown(node: NodeId) -> Self {
        Self { node, role: None, connection: None }
    }
}

/// Why there is no backup. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBackup {
    /// Nobody confirmed that what this node has applied is everything that is agreed on.
    #[error("{0}")]
    Unconfirmed(String),
    /// A defect of the node.
    #[error("{0}")]
    Failed(String),
}

/// Why there is no outcome of a command.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct ProposeError {
    /// What happened.
    pub why: String,
    /// The node to ask instead, if known.
    pub leader: Option<NodeId>,
    /// The command may have been applied, or still be.
    pub outcome_is_unknown: bool,
}

impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        let ProposeError { why, leader, outcome_is_unknown } = error;
        Self::Unavailable { why, leader, nothing_done: !outcome_is_unknown }
    }
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoTransfer {
    /// Who is to lead cannot, or nobody can: it is no voter, out of reach or behind. Nothing was changed.
    #[error("{0}")]
    CannotLead(String),
    /// It could not be asked for.
    #[error(transparent)]
    Failed(#[from] ProposeError),
}

/// Who this node is.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: Name,
    /// Its region label.
    pub region: Name,
    /// The version of its program.
    pub version: &'static str,
    /// When its process started.
    pub started_at: Timestamp,
}

/// Everything that the API works on.
#[derive(Clone)]
pub struct AdminContext {
    /// Who this node is.
    pub node: NodeIdentity,
    /// The agreed state.
    pub cluster: Arc<dyn Cluster>,
    /// Makes clients of instances.
    pub instances: Arc<Instances>,
    /// What partitions do.
    pub board: Arc<StatusBoard>,
    /// Rates and the last hour. The API only reads it: somebody else samples it once a second.
    pub rates: Arc<RateHistory>,
    /// What the nodes of the cluster say.
    pub nodes: Arc<NodeBoard>,
    /// Seals secrets that clients send.
    pub secrets: Arc<SecretStore>,
    /// Writes the answer of `/metrics`, in the Prometheus text format.
    pub metrics: Arc<dyn Fn(ScrapeOptions) -> String + Send + Sync>,
}

/// The context together with what the API itself remembers; one for all workers.
pub(super) struct Site {
    pub(super) context: AdminContext,
    pub(super) gate: Gate,
    pub(super) history: Mutex<History>,
    /// Bounds how many tests and plans talk to instances at a time.
    pub(super) probes: tokio::sync::Semaphore,
}

/// How long a change may take to be agreed on.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many tests and plans talk to instances at a time; a further one is told to come back.
const MAXIMUM_PROBES: usize = 4;

impl Site {
    pub(super) fn new(context: AdminContext) -> Self {
        Self {
            context,
            gate: Gate::default(),
            history: Mutex::default(),
            probes: tokio::sync::Semaphore::new(MAXIMUM_PROBES),
        }
    }

    /// Proposes a command and turns a refusal into an error.
    pub(super) async fn change(&self, command: Command) -> Result<Outcome, Error> {
        if let Some(refusal) = held_back(&self.context.cluster.view(), command.since()) {
            return Err(Error::Refused(refusal));
        }
        let proposed = tokio::time::timeout(AGREEMENT_TIMEOUT, self.context.cluster.propose(command)).await;
        match proposed {
            Ok(Ok(Outcome::Refused(refusal))) => Err(Error::Refused(refusal)),
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::Unavailable {
                why: format!(
                    "the change was not agreed on within {} s; it may still be: look before asking again",
                    AGREEMENT_TIMEOUT.as_secs()
                ),
                leader: None,
                nothing_done: false,
            }),
        }
    }

    /// A place among those that talk to instances.
    pub(super) fn probe_permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        self.probes.try_acquire().map_err(|_| Error::Unavailable {
            why: format!("{MAXIMUM_PROBES} tests and plans are under way already; ask again in a moment"),
            leader: None,
            nothing_done: true,
        })
    }
}

/// Names a node whose build keeps the cluster from commands of a version; none when it is agreed on, or will be by
/// itself.
fn held_back(view: &State, needed: u16) -> Option<Refusal> {
    let behind = view.nodes.values().find(|node| node.supports < needed && view.agreed_version < needed)?;
    Some(Refusal::TooOld { node: behind.name.clone(), knows: behind.supports, needed })
}

#[cfg(test)]
mod tests {
    use causeway_core::command::Command;
    use causeway_core::outcome::Refusal;

    use super::held_back;
    use crate::admin::seam::Cluster as _;
    use crate::admin::tests::{Fixture, name};

    #[test]
    fn who_keeps_the_cluster_from_a_newer_command_is_named() {
        let fixture = Fixture::with_two_streams();
        let (id, name, region) = (causeway_core::ids::NodeId(1), name("node-1"), name("hohhot"));
        fixture.cluster.apply(Command::NodeStarted { node: id, name: name.clone(), region });
        let mut view = fixture.cluster.view().as_ref().clone();
        view.agreed_version = 2;
        assert_eq!(held_back(&view, 2), None);
        assert_eq!(held_back(&view, 3), Some(Refusal::TooOld { node: name, knows: 2, needed: 3 }));
        view.agreed_version = 3;
        assert_eq!(held_back(&view, 3), None);
    }
}
